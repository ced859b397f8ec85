import { randomUUID } from 'node:crypto';
import { constants, rmSync } from 'node:fs';
import { access, type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Directories that exist, to be removed when the process exits. */
const directories = new Set<string>();
let removesAtExit = false;

/** A directory that is removed when its scope ends, or when the process exits before that. */
export interface TemporaryDirectory extends AsyncDisposable {
  readonly path: string;
}

/**
 * Creates a private directory under `parent` (default: the system's temporary directory, so TMPDIR counts).
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

/** A file that is removed when its scope ends. */
export interface TemporaryFile extends AsyncDisposable {
  /** Can be opened for reading and writing while the scope lasts. */
  readonly path: string;
  readonly handle: FileHandle;
}

/**
 * O_TMPFILE of open(2), which Node does not define; the same on every Linux architecture that Node supports.
 */
const withoutName = 0o20000000 | constants.O_DIRECTORY;

/**
 * Creates an empty private file in `directory` (default: the system's temporary directory, so TMPDIR counts).
 * Where open files have names in /proc, the file has no other name: nothing is left behind even if the
 * process is killed. Use with `await using`.
 */
export async function createTemporaryFile(directory: string = tmpdir()): Promise<TemporaryFile> {
  return (await createUnnamed(directory)) ?? createNamed(directory);
}

/** Creates a file that never has a name; null where the system or the file system does not support that. */
async function createUnnamed(directory: string): Promise<TemporaryFile | null> {
  if (process.platform !== 'linux') return null;
  const handle = await open(directory, withoutName | constants.O_RDWR, 0o600).catch(() => null);
  if (handle === null) return null;
  const path = nameInProc(handle);
  if (await exists(path)) return { path, handle, [Symbol.asyncDispose]: () => handle.close() };
  await handle.close();
  return null;
}

/** Creates a file that has a name only briefly, or for as long as it exists. */
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
