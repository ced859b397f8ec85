import type { LogFields, Logger } from '../../shared/logger.ts';
import { printable } from './text.ts';

export const verbosities = ['error', 'warn', 'info', 'debug'] as const;
export type Verbosity = (typeof verbosities)[number];
export type LogFormat = 'text' | 'json';

/** Creates a logger that passes lines of text or JSON to `write`, without their newline. */
export function createLogger(options: {
  readonly verbosity: Verbosity;
  readonly format: LogFormat;
  readonly write: (line: string) => void;
}): Logger {
  const most = verbosities.indexOf(options.verbosity);
  const log = (level: Verbosity) => (message: string, fields?: LogFields) => {
    if (verbosities.indexOf(level) > most) return;
    options.write(
      options.format === 'json' ? jsonLine(level, message, fields) : textLine(level, message, fields),
    );
  };
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
}

function jsonLine(level: Verbosity, message: string, fields: LogFields | undefined): string {
  return JSON.stringify({ time: new Date().toISOString(), level, message, ...fields });
}

function textLine(level: Verbosity, message: string, fields: LogFields | undefined): string {
  const facts = Object.entries(fields ?? {})
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const label = level === 'warn' ? 'warning' : level;
  return printable([`${label}: ${message}`, ...facts].join(' '));
}
