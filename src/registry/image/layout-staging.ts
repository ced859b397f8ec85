import { randomBytes } from 'node:crypto';
import { lstat, mkdir, open, readdir, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FileLockError, tryFileLock, withFileMutex } from '../../shared/file-lock.ts';
import { isMissing, layoutError, makeDirectory } from './layout-files.ts';

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
  const options = { timeout: mutexTimeout, signal };
  const outcome = await withFileMutex(join(directory, mutexFile), options, operation);
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
  await mkdir(directory, { recursive: true });
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
