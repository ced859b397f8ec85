import { KmmError } from '../../shared/errors.ts';
import { errorExitCodes, exitCodes, type ExitCode } from './exit-codes.ts';
import { printable } from '../../shared/printable.ts';

/** An error as the program reports it. */
export interface ReportedError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly facts?: Readonly<Record<string, unknown>>;
  readonly exitCode: ExitCode;
}

/** Describes anything thrown. Only the project's own errors show more than their message. */
export function describeError(error: unknown): ReportedError {
  // The first failure is the reason, not the failed cleanup.
  if (error instanceof SuppressedError) return describeError(error.suppressed);
  if (error instanceof KmmError) {
    return { ...error.toJSON(), exitCode: errorExitCodes[error.code] ?? exitCodes.unexpected };
  }
  const message = error instanceof Error ? error.message : 'A value that is not an error was thrown';
  if (isSystemError(error)) return { code: error.code, message, exitCode: exitCodes.unexpected };
  return {
    code: 'UNEXPECTED',
    message,
    hint: 'This may be a bug: please report it with the output of --verbosity debug.',
    exitCode: exitCodes.unexpected,
  };
}

/** Formats an error as lines for people, or as one JSON document. */
export function formatError(error: ReportedError, format: 'text' | 'json'): string {
  if (format === 'json') return JSON.stringify({ schemaVersion: 1, error });
  const lines = [`kmm-sign: ${printable(error.message)}`];
  if (error.hint !== undefined) lines.push(`hint: ${printable(error.hint)}`);
  return lines.join('\n');
}

/** Returns whether an error is the operating system's (ENOSPC, EACCES …) and not a defect of ours. */
function isSystemError(error: unknown): error is Error & { code: string } {
  return error instanceof Error && 'syscall' in error && 'code' in error && typeof error.code === 'string';
}
