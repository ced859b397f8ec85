import { constants } from 'node:fs';
import { lstat, open, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Digest } from '../../registry/model/digest.ts';
import { SignerError } from '../../signer/model/errors.ts';
import { fileError, replaceFile } from '../../signer/files/write-file.ts';

/**
 * Errors for a writable file that cannot be replaced: it is mounted, or its directory is read-only or owned
 * by someone else.
 */
const irreplaceableCodes: ReadonlySet<unknown> = new Set(['EACCES', 'EBUSY', 'EPERM', 'EROFS', 'EXDEV']);

/**
 * Writes a digest to the file of `--digest-file`, without a newline, as Tekton requires for results.
 * @throws SignerError FILE_ERROR
 */
export async function writeDigestFile(file: string | undefined, digest: Digest | null): Promise<void> {
  if (digest !== null) await writeResultFile(file, digest);
}

/**
 * Writes a result to a file that an option names. A regular file is replaced atomically; devices, pipes and single mounted files, such as Kubernetes'
 * /dev/termination-log, are written in place. A symbolic link is refused: whoever can create one in that
 * directory could choose what is overwritten.
 * @throws SignerError FILE_ERROR
 */
export async function writeResultFile(file: string | undefined, result: string): Promise<void> {
  if (file === undefined) return;
  const content = Buffer.from(result);
  const existing = await lstat(file).catch(() => null);
  if (existing?.isSymbolicLink() === true) {
    if (!(await isSystemLink(file))) throw symbolicLinkError(file);
    return writeInPlace(file, content, 0);
  }
  if (existing !== null && !existing.isFile()) return writeInPlace(file, content, constants.O_NOFOLLOW);
  const mode = (existing?.mode ?? 0o666 & ~process.umask()) & 0o777;
  try {
    await replaceFile(file, [content], mode);
  } catch (error) {
    if (
      existing === null ||
      !(error instanceof SignerError) ||
      !irreplaceableCodes.has(error.facts?.['reason'])
    )
      throw error;
    await writeInPlace(file, content, constants.O_NOFOLLOW);
  }
}

/** Returns whether a link is the system's own, such as `/dev/stdout` or `/dev/fd/3`. */
async function isSystemLink(file: string): Promise<boolean> {
  const directory = await realpath(dirname(file));
  return directory === '/dev' || directory.startsWith('/proc/');
}

async function writeInPlace(file: string, content: Buffer, flags: number): Promise<void> {
  try {
    await using handle = await open(file, constants.O_WRONLY | constants.O_TRUNC | flags);
    await handle.writeFile(content);
  } catch (error) {
    throw fileError('written', file, error);
  }
}

function symbolicLinkError(file: string): SignerError {
  return new SignerError({
    code: 'FILE_ERROR',
    message: `${file} is a symbolic link, which is not followed`,
    hint: 'Name the file itself.',
    facts: { path: file },
  });
}
