import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, realpath, rm, type FileHandle, lstat, readdir, rename } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { createDirectory } from '../../shared/create-directory.ts';
import { FileLockError, tryFileLock, withFileMutex } from '../../shared/file-lock.ts';
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
  await createDirectory(directory);
  let current = '.';
  for (const part of path.split(sep)) {
    current = join(current, part);
    await createDirectory(join(directory, current));
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

/** Held while index.json is read, changed and written. The file exists only during that time. */
const mutexFile = '.kmm-sign.lock';

/** The directory of one file being written, locked by its process while that is alive. */
const stagingName = /^\.kmm-sign-[0-9a-f]{12}$/;
const stagingLock = 'lock';
const stagedFile = 'content';

/** Milliseconds to wait for other processes, each of which holds the mutex for one rewrite of index.json. */
const mutexTimeout = 60_000;

/** Tells whether a name in a layout's directory is one of our temporary files. */
export function isWorkingFile(name: string): boolean {
  return name === mutexFile || stagingName.test(name);
}

/**
 * Runs an operation exclusively among all processes that use this function on the same layout. The directory
 * must exist.
 * @throws RegistryError IN_USE, FileLockError
 */
export async function withLayoutMutex<Result>(
  directory: string,
  signal: AbortSignal | undefined,
  operation: () => Promise<Result>,
): Promise<Result> {
  const outcome = await withFileMutex(join(directory, mutexFile), mutexTimeout, signal, operation);
  if (outcome !== 'timed-out') return outcome.result;
  const hint = 'Wait until the other process has ended, and run the command again.';
  throw layoutError('IN_USE', directory, 'another process kept the layout locked', hint);
}

/** Writes one file of a layout, completely or not at all. */
export type WriteLayoutFile = (path: string, write: (file: FileHandle) => Promise<void>) => Promise<void>;

/**
 * Runs an operation with a function that writes files: each is first written in a separate directory, then
 * renamed. Removes such directories left by killed processes.
 * @throws RegistryError IN_USE, INVALID_MANIFEST for a link that leads out of the layout; FileLockError
 */
export async function withStaging<Result>(
  directory: string,
  signal: AbortSignal | undefined,
  operation: (write: WriteLayoutFile) => Promise<Result>,
): Promise<Result> {
  const staging = join(directory, `.kmm-sign-${randomBytes(6).toString('hex')}`);
  await createDirectory(directory);
  // Under the mutex, a directory whose lock is free belongs to a dead process.
  const lock = await withLayoutMutex(directory, signal, async () => {
    await removeAbandoned(directory);
    await mkdir(staging);
    return tryFileLock(join(staging, stagingLock));
  });
  try {
    return await operation((path, write) => writeLayoutFile({ directory, staging, path }, write));
  } finally {
    // Under the mutex as well, so that removeAbandoned is not at work in it. Anything left is removed by the
    // next run.
    await withLayoutMutex(directory, undefined, () => rm(staging, { recursive: true })).catch(() => {});
    lock?.release();
  }
}

async function writeLayoutFile(
  { directory, staging, path }: { directory: string; staging: string; path: string },
  write: (file: FileHandle) => Promise<void>,
): Promise<void> {
  await makeDirectory(directory, dirname(path));
  const staged = join(staging, stagedFile);
  const file = await open(staged, 'wx', 0o644);
  try {
    await write(file);
  } finally {
    await file.close();
  }
  await rename(staged, join(directory, path));
}

/**
 * Removes what killed processes left in a layout, for a run that has nothing to write. What cannot be removed now, a
 * later run removes.
 */
export async function removeLeftovers(directory: string): Promise<void> {
  try {
    if (!(await readdir(directory)).some(isWorkingFile)) return;
    // Whoever holds the mutex has looked for such files, too. The file of the mutex itself goes with its release.
    await withFileMutex(join(directory, mutexFile), 0, undefined, () => removeAbandoned(directory));
  } catch {
    // The layout may be missing, or not ours to write to.
  }
}

async function removeAbandoned(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!stagingName.test(name)) continue;
    const staging = join(directory, name);
    if (!(await isStagingDirectory(staging))) continue;
    try {
      using lock = tryFileLock(join(staging, stagingLock));
      if (lock !== undefined) await rm(staging, { recursive: true, force: true });
    } catch (error) {
      if (!(error instanceof FileLockError)) throw error;
    }
  }
}

/** Tells whether a directory contains only what withStaging puts there, so that it may be removed. */
async function isStagingDirectory(staging: string): Promise<boolean> {
  try {
    if (!(await lstat(staging)).isDirectory()) return false;
    for (const name of await readdir(staging)) {
      if (name !== stagingLock && name !== stagedFile) return false;
      const status = await lstat(join(staging, name));
      if (!status.isFile() || (name === stagingLock && status.size > 0)) return false;
    }
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
