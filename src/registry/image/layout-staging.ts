import { randomBytes } from 'node:crypto';
import { lstat, mkdir, open, readdir, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FileLockError, tryFileLock, withFileMutex } from '../../shared/file-lock.ts';
import { isMissing, layoutError, makeFolder } from './layout-files.ts';

/** Held while index.json is read, changed and written. The file exists only meanwhile. */
const mutexFile = '.kmm-sign.lock';

/** A folder for one file that is being written, locked by its process as long as that lives. */
const stagingName = /^\.kmm-sign-[0-9a-f]{12}$/;
const stagingLock = 'lock';
const stagedFile = 'content';

/** Milliseconds to wait for other processes; each holds the mutex for one rewrite of index.json. */
const mutexPatience = 60_000;

/** Tells whether a name in a layout's directory is one of the files that we put there while we write. */
export function isWorkingFile(name: string): boolean {
  return name === mutexFile || stagingName.test(name);
}

/**
 * Runs an operation while no other process that uses this function on the same layout runs one. The directory
 * must exist. @throws RegistryError IN_USE, FileLockError
 */
export async function withLayoutMutex<Result>(
  directory: string,
  signal: AbortSignal | undefined,
  operation: () => Promise<Result>,
): Promise<Result> {
  const options = { patience: mutexPatience, signal };
  const outcome = await withFileMutex(join(directory, mutexFile), options, operation);
  if (outcome !== 'timed-out') return outcome.result;
  const hint = 'Wait until the other process has ended, and run the command again.';
  throw layoutError('IN_USE', directory, 'another process has kept the layout locked', hint);
}

/** Writes one file of a layout so that it is there whole or not at all. */
export type WriteLayoutFile = (path: string, write: (file: FileHandle) => Promise<void>) => Promise<void>;

/**
 * Gives an operation a way to write files: each is written in a folder of its own first and renamed. Removes
 * such folders of processes that were killed.
 * @throws RegistryError IN_USE, INVALID_MANIFEST for a link that leads out of the layout; FileLockError
 */
export async function withStaging<Result>(
  directory: string,
  signal: AbortSignal | undefined,
  operation: (write: WriteLayoutFile) => Promise<Result>,
): Promise<Result> {
  const folder = join(directory, `.kmm-sign-${randomBytes(6).toString('hex')}`);
  await mkdir(directory, { recursive: true });
  // Under the mutex, a folder whose lock is free belongs to a process that is dead.
  const lock = await withLayoutMutex(directory, signal, async () => {
    await removeAbandoned(directory);
    await mkdir(folder);
    return tryFileLock(join(folder, stagingLock));
  });
  try {
    return await operation((path, write) => writeLayoutFile({ directory, folder, path }, write));
  } finally {
    // Under the mutex as well, so that removeAbandoned is not at work in it. What stays is removed by the next run.
    await withLayoutMutex(directory, undefined, () => rm(folder, { recursive: true })).catch(() => {});
    lock?.release();
  }
}

async function writeLayoutFile(
  { directory, folder, path }: { directory: string; folder: string; path: string },
  write: (file: FileHandle) => Promise<void>,
): Promise<void> {
  await makeFolder(directory, dirname(path));
  const staged = join(folder, stagedFile);
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
    const folder = join(directory, name);
    if (!(await isStagingFolder(folder))) continue;
    try {
      using lock = tryFileLock(join(folder, stagingLock));
      if (lock !== undefined) await rm(folder, { recursive: true, force: true });
    } catch (error) {
      if (!(error instanceof FileLockError)) throw error;
    }
  }
}

/** Tells whether a folder holds nothing but what withStaging puts there, so that it may be removed. */
async function isStagingFolder(folder: string): Promise<boolean> {
  try {
    if (!(await lstat(folder)).isDirectory()) return false;
    for (const name of await readdir(folder)) {
      if (name !== stagingLock && name !== stagedFile) return false;
      const status = await lstat(join(folder, name));
      if (!status.isFile() || (name === stagingLock && status.size > 0)) return false;
    }
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
