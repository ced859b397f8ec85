import { randomUUID } from 'node:crypto';
import { constants, rmSync } from 'node:fs';
import { access, type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Directories that are there, to be removed when the process exits. */
const directories = new Set<string>();
let removesAtExit = false;

/** A directory that is gone when its scope ends, also when the process exits in between. */
export interface TemporaryDirectory extends AsyncDisposable {
  readonly path: string;
}

/**
 * Makes a private directory under `parent` (default: the system's, so TMPDIR counts).
 * Use with `await using`.
 */
export async function createTemporaryDirectory(parent: string = tmpdir()): Promise<TemporaryDirectory> {
  const path = await mkdtemp(join(parent, 'kmm-sign-'));
  directories.add(path);
  if (!removesAtExit) {
    removesAtExit = true;
    process.once('exit', () => {
      for (const directory of directories) rmSync(directory, { recursive: true, force: true });
    });
  }
  return {
    path,
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true });
      directories.delete(path);
    },
  };
}

/** A file that is gone when its scope ends. */
export interface TemporaryFile extends AsyncDisposable {
  /** Opens for reading and writing as long as the scope lasts. */
  readonly path: string;
  readonly handle: FileHandle;
}

/** open(2)'s O_TMPFILE, which Node does not name: the same on every Linux that Node runs on. */
const withoutName = 0o20000000 | constants.O_DIRECTORY;

/**
 * Makes an empty private file in `directory` (default: the system's for temporary files, so TMPDIR
 * counts). Where the system names open files in /proc, the file has no other name: nothing is left
 * behind even when the process is killed. Use with `await using`.
 */
export async function createTemporaryFile(directory: string = tmpdir()): Promise<TemporaryFile> {
  return (await createUnnamed(directory)) ?? createNamed(directory);
}

/** A file that never had a name; null where the system or the file system has no such thing. */
async function createUnnamed(directory: string): Promise<TemporaryFile | null> {
  if (process.platform !== 'linux') return null;
  const handle = await open(directory, withoutName | constants.O_RDWR, 0o600).catch(() => null);
  if (handle === null) return null;
  const path = nameInProc(handle);
  if (await exists(path)) return { path, handle, [Symbol.asyncDispose]: () => handle.close() };
  await handle.close();
  return null;
}

/** A file that has a name for a moment, or as long as it is there. */
async function createNamed(directory: string): Promise<TemporaryFile> {
  const name = join(directory, `kmm-sign-${randomUUID()}`);
  const handle = await open(name, 'wx+', 0o600);
  const unnamed = nameInProc(handle);
  const canUnlink = await exists(unnamed);
  if (canUnlink) await rm(name);
  return {
    path: canUnlink ? unnamed : name,
    handle,
    async [Symbol.asyncDispose]() {
      await handle.close();
      if (!canUnlink) await rm(name, { force: true });
    },
  };
}

function nameInProc(handle: FileHandle): string {
  return `/proc/self/fd/${handle.fd}`;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
