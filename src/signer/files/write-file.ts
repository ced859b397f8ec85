import { randomBytes } from 'node:crypto';
import { link, lstat, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { SignerError } from '../model/errors.ts';
import type { ByteSource } from '../../shared/byte-source.ts';
import { asBytes } from '../../shared/chunks.ts';

/** A file to be written. */
export interface NewFile {
  readonly path: string;
  readonly contents: readonly (Uint8Array | ByteSource)[];
  readonly mode: number;
}

/** Errors from file systems without hard links. */
const withoutLinks: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

/**
 * Writes a file atomically, replacing one of that name: under a temporary name in the same directory, then
 * renamed. A symbolic link is replaced and not followed. @throws SignerError FILE_ERROR
 */
export function replaceFile(path: string, contents: NewFile['contents'], mode: number): Promise<void> {
  return writeFilesAtomically([{ path, contents, mode }], { overwrite: true });
}

/**
 * Writes files that belong together: none of them appears before all are written, and without `overwrite`
 * either all appear or none. @throws SignerError FILE_ERROR
 */
export async function writeFilesAtomically(
  files: readonly NewFile[],
  { overwrite }: { readonly overwrite: boolean },
): Promise<void> {
  const prepared: { readonly path: string; readonly temporary: string }[] = [];
  const created: string[] = [];
  try {
    for (const file of files) prepared.push(await naming(file.path, () => prepare(file)));
    if (overwrite) for (const { path } of files) await checkReplaceable(path);
    for (const { path, temporary } of prepared) {
      await naming(path, () => (overwrite ? rename(temporary, path) : create(temporary, path)));
      if (!overwrite) created.push(path);
    }
  } catch (error) {
    await removeAll(created);
    throw error;
  } finally {
    await removeAll(prepared.map(({ temporary }) => temporary));
  }
}

async function prepare({ path, contents, mode }: NewFile): Promise<{ path: string; temporary: string }> {
  const temporary = join(dirname(path), `.kmm-sign-${randomBytes(8).toString('hex')}`);
  const file = await open(temporary, 'wx', 0o600);
  try {
    for (const content of contents) {
      if (content instanceof Uint8Array) await file.writeFile(content);
      else await file.writeFile(asBytes(content.stream()));
    }
    // The umask reduces the mode of a new file.
    await file.chmod(mode);
    await file.sync();
  } catch (error) {
    await removeAll([temporary]);
    throw error;
  } finally {
    await file.close();
  }
  return { path, temporary };
}

/**
 * Refuses to replace anything but files and links: if root renames a file over a device, the device is gone.
 */
async function checkReplaceable(path: string): Promise<void> {
  const existing = await lstat(path).catch(() => null);
  if (existing === null || existing.isFile() || existing.isSymbolicLink()) return;
  throw new SignerError({
    code: 'FILE_ERROR',
    message: `${path} is not a regular file, so it is not replaced`,
    hint: 'Name a file, or one that does not exist yet.',
    facts: { path },
  });
}

/** Links a file into place; fails if the name is taken, and leaves the existing file untouched. */
async function create(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    if (!withoutLinks.has(reasonOf(error))) throw error;
    await (await open(path, 'wx', 0o600)).close();
    await rename(temporary, path);
  }
}

async function removeAll(paths: readonly string[]): Promise<void> {
  await Promise.all(paths.map((path) => rm(path, { force: true })));
}

async function naming<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw fileError('written', path, error);
  }
}

/** Returns the error for a local file that cannot be read or written. `done` is a participle. */
export function fileError(done: 'read' | 'written', path: string, error: unknown): SignerError {
  if (error instanceof SignerError) return error;
  const reason = reasonOf(error);
  return new SignerError({
    code: 'FILE_ERROR',
    message: reason === 'EEXIST' ? `${path} already exists` : `${path} cannot be ${done} (${reason})`,
    hint: reason === 'EEXIST' ? 'Choose another name, or force it to be overwritten.' : undefined,
    facts: { path, reason },
  });
}

function reasonOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
}
