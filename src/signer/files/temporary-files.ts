import { tmpdir } from 'node:os';
import { createTemporaryFile, type TemporaryFile } from '../../shared/temporary.ts';
import { SignerError } from '../model/errors.ts';

/** Explanations by system error code. Other system errors keep their own messages. */
const reasons: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on device',
  EDQUOT: 'disk quota exceeded',
  EROFS: 'read-only file system',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  ENOENT: 'no such directory',
  ENOTDIR: 'not a directory',
  EMFILE: 'too many open files',
  ENFILE: 'too many open files',
  EFBIG: 'file too large',
  EIO: 'input/output error',
};

/** Creates a temporary file. @throws SignerError FILE_ERROR */
export function openTemporaryFile(directory: string | undefined): Promise<TemporaryFile> {
  return usingTemporaryFiles(directory, () => createTemporaryFile(directory));
}

/**
 * Runs work that reads and writes temporary files; system errors raised by it name their directory.
 * @throws SignerError FILE_ERROR, and whatever else the work throws
 */
export async function usingTemporaryFiles<Result>(
  directory: string | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw describe(error, directory ?? tmpdir());
  }
}

function describe(error: unknown, directory: string): unknown {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return error;
  const code = String(error.code);
  const reason = reasons[code];
  if (reason === undefined) return error;
  return new SignerError({
    code: 'FILE_ERROR',
    message: `Temporary files cannot be written to ${directory}: ${reason} (${code})`,
    hint: 'Free some space there, or set TMPDIR to a directory with room for twice the layers that contain modules.',
    facts: { path: directory, reason: code },
  });
}
