import { KmmError } from '../../shared/errors.ts';
import type { LogFields, Logger } from '../../shared/logger.ts';

/** In order of descending importance. */
export const logLevels = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface JsonLoggerOptions {
  /** Called with each entry, without a line break. */
  readonly write: (line: string) => void;
  /** The least important level that is written. @default info */
  readonly level?: LogLevel | undefined;
}

/** Creates a logger that writes one JSON document per entry: time, level, message and the fields. */
export function createJsonLogger({ write, level: least = 'info' }: JsonLoggerOptions): Logger {
  const most = logLevels.indexOf(least);
  const log = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (logLevels.indexOf(level) > most) return;
    write(format({ time: new Date().toISOString(), level, message }, fields));
  };
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
}

function format(entry: Readonly<Record<string, string>>, fields: LogFields = {}): string {
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
