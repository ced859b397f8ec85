import { KmmError } from './errors.ts';

/** Structured fields of a log line. Values must not contain secrets. */
export type LogFields = Readonly<Record<string, unknown>>;

/** A structured logger: the message is constant, the fields vary. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** Logs nothing. The default wherever a logger is optional. */
export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
};

/** In order of descending importance. */
export const logLevels = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Formats an entry as one line, without a line break. */
export type LogFormatter = (level: LogLevel, message: string, fields?: LogFields) => string;

/** Creates a logger that passes the lines of entries that are at least as important as `least` to `write`. */
export function createLogger(least: LogLevel, format: LogFormatter, write: (line: string) => void): Logger {
  const most = logLevels.indexOf(least);
  const log = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (logLevels.indexOf(level) <= most) write(format(level, message, fields));
  };
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
}

/** Formats an entry as JSON: time, level, message, which no field replaces, and the fields. */
export function jsonLine(level: LogLevel, message: string, fields: LogFields = {}): string {
  const entry = { time: new Date().toISOString(), level, message };
  try {
    return JSON.stringify({ ...entry, ...plain(fields), ...entry });
  } catch {
    // A field with a circular reference must not end the program.
    return JSON.stringify({ ...entry, unprintable: Object.keys(fields) });
  }
}

function plain(fields: LogFields): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      value instanceof Error ? describe(value) : typeof value === 'bigint' ? String(value) : value,
    ]),
  );
}

/** Describes an error. Our own identify their origin; others are defects, and need their stack. */
function describe(error: Error): object {
  const { name, message } = error;
  if (error instanceof KmmError) return { name, code: error.code, message, facts: error.facts };
  if ('code' in error && typeof error.code === 'string') return { name, code: error.code, message };
  if (error instanceof AggregateError) {
    const errors = error.errors.filter((one) => one instanceof Error);
    return { name, message, errors: errors.map(describe) };
  }
  return { name, message, stack: error.stack };
}
