import { constants } from 'node:fs';
import { mkdir, open, realpath, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { digestAlgorithm, digestHex, type Digest } from '../model/digest.ts';
import { RegistryError, type RegistryErrorCode } from '../model/errors.ts';

/** Returns the path of a blob in a layout (image-spec, image-layout.md, "Blobs"). */
export function blobPath(digest: Digest): string {
  return join('blobs', digestAlgorithm(digest), digestHex(digest));
}

/** Tells whether a file system error means that the file does not exist. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

/**
 * Opens a file of a layout for reading. Refuses symbolic links that lead out of the layout, and anything that
 * is not a regular file.
 * @throws RegistryError INVALID_MANIFEST, system errors such as ENOENT
 */
export async function openLayoutFile(directory: string, path: string): Promise<FileHandle> {
  const root = await realpath(directory);
  const target = await realpath(join(root, path));
  if (!target.startsWith(root.endsWith(sep) ? root : root + sep)) {
    throw layoutError('INVALID_MANIFEST', directory, `${path} leads out of the layout`);
  }
  // Without O_NONBLOCK, opening a named pipe would block.
  const file = await open(target, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const status = await file.stat();
  if (status.isFile()) return file;
  await file.close();
  throw layoutError('INVALID_MANIFEST', directory, `${path} is not a regular file`);
}

/**
 * Reads a small file of a layout.
 * @throws RegistryError LIMIT_EXCEEDED, INVALID_MANIFEST, system errors such as ENOENT
 */
export async function readLayoutFile(directory: string, path: string, limit: number): Promise<Buffer> {
  const file = await openLayoutFile(directory, path);
  try {
    const { size } = await file.stat();
    if (size > limit) throw layoutError('LIMIT_EXCEEDED', directory, `${path} has more than ${limit} bytes`);
    return await file.readFile();
  } finally {
    await file.close();
  }
}

/** Removes a file of a layout; tells whether it existed. */
export async function removeLayoutFile(directory: string, path: string): Promise<boolean> {
  try {
    await checkDirectory(directory, dirname(path));
    await rm(join(directory, path));
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Builds the error for a problem with a layout. */
export function layoutError(
  code: RegistryErrorCode,
  directory: string,
  problem: string,
  hint?: string,
): RegistryError {
  return new RegistryError({
    code,
    message: `oci:${directory}: ${problem}`,
    hint,
    facts: { repository: `oci:${directory}` },
  });
}

/**
 * Creates a directory of a layout level by level, so that none is created beyond a link that leads out.
 * @throws RegistryError INVALID_MANIFEST for such a link
 */
export async function makeDirectory(directory: string, path: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  let current = '.';
  for (const part of path.split(sep)) {
    current = join(current, part);
    await mkdir(join(directory, current), { recursive: true });
    await checkDirectory(directory, current);
  }
}

/** Checks that nothing is written through a symbolic link that leads out of the layout. */
async function checkDirectory(directory: string, path: string): Promise<void> {
  const root = await realpath(directory);
  const current = await realpath(join(root, path));
  if (current !== root && !current.startsWith(root.endsWith(sep) ? root : root + sep)) {
    throw layoutError('INVALID_MANIFEST', directory, `${path} leads out of the layout`);
  }
}
