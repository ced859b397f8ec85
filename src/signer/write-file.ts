import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SignerError } from './errors.ts';
import type { ByteSource } from './kmod/byte-source.ts';

export interface WriteFileOptions {
  readonly mode: number;
  /** Replace a file that is there. */
  readonly overwrite: boolean;
}

/**
 * Writes a file so that nobody ever sees half of it: under another name in the same folder, then renamed.
 * @throws SignerError FILE_ERROR
 */
export async function writeFileAtomically(
  path: string,
  contents: readonly (Uint8Array | ByteSource)[],
  { mode, overwrite }: WriteFileOptions,
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}`);
  try {
    // Taking the name first makes "exists already" certain, not a race.
    if (!overwrite) await (await open(path, 'wx', mode)).close();
    try {
      await writeAll(temporary, contents, mode);
      await rename(temporary, path);
    } catch (error) {
      await Promise.all([temporary, ...(overwrite ? [] : [path])].map((file) => rm(file, { force: true })));
      throw error;
    }
  } catch (error) {
    throw fileError('written', path, error);
  }
}

async function writeAll(
  path: string,
  contents: readonly (Uint8Array | ByteSource)[],
  mode: number,
): Promise<void> {
  await using file = await open(path, 'wx', mode);
  // The mode of a new file is cut down by the umask.
  await file.chmod(mode);
  for (const content of contents) {
    if (content instanceof Uint8Array) await file.writeFile(content);
    else await file.writeFile(content.stream());
  }
  await file.sync();
}

/** The error for a local file that cannot be read or written. `done` is a participle. */
export function fileError(done: 'read' | 'written', path: string, error: unknown): SignerError {
  if (error instanceof SignerError) return error;
  const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
  return new SignerError({
    code: 'FILE_ERROR',
    message: reason === 'EEXIST' ? `${path} exists already` : `${path} cannot be ${done} (${reason})`,
    hint: reason === 'EEXIST' ? 'Choose another name, or force it to be replaced.' : undefined,
    facts: { path, reason },
  });
}
