import { KmmError } from '../../shared/errors.ts';

/** Codes of errors of the command line itself. */
export type CliErrorCode =
  /** An invalid option, argument or environment variable. */
  | 'USAGE'
  /** A Kubernetes Secret with a key or certificate cannot be read. */
  | 'SECRET_UNREADABLE'
  /** `--timeout` ran out. */
  | 'TIMEOUT'
  /** SIGINT or SIGTERM. */
  | 'INTERRUPTED';

/** An error of the command line. */
export class CliError extends KmmError<CliErrorCode> {
  override readonly name = 'CliError';
}

/** Builds the error for an invalid option or argument. `hint` says what is valid. */
export function usageError(message: string, hint?: string): CliError {
  return new CliError({ code: 'USAGE', message, hint });
}

/** Returns the value of a required option. @throws CliError USAGE */
export function required<T>(value: T | undefined, option: string): T {
  if (value !== undefined) return value;
  const variable = `KMM_SIGN_${option.replace(/^--/, '').replaceAll('-', '_').toUpperCase()}`;
  throw usageError(`Option ${option} is required`, `Give ${option}, or set ${variable}.`);
}
