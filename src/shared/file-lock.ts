import { constants } from 'node:fs';
import { open, realpath, stat, unlink, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import pLimit from 'p-limit';
import { sleep } from './abortable.ts';
import { KmmError } from './errors.ts';

/** Milliseconds between two attempts to get a mutex that another process holds, before jitter. */
const retryDelay = 5;

/** SQLITE_BUSY: the lock is held by someone else. */
const busy = 5;

/** A lock on a file. The kernel releases it when the process ends, however it ends. */
export interface FileLock extends Disposable {
  release(): void;
}

/** The file system or the version of Node cannot lock files. `facts`: path, reason. */
export class FileLockError extends KmmError<'FILE_ERROR'> {
  override readonly name = 'FileLockError';
}

/**
 * Locks a file, which is created if it does not exist, and stays empty. Returns undefined if another process,
 * or another caller in this one, holds the lock.
 *
 * The lock is SQLite's, since Node itself offers none: a POSIX record lock, which also works between
 * containers on one host and leaves nothing stale behind. No other code in this process may open the file.
 * @throws FileLockError
 */
export function tryFileLock(path: string): FileLock | undefined {
  let database: DatabaseSync | undefined;
  try {
    const Database = loadSqlite(path);
    database = new Database(path, { timeout: 0 });
    // Without a journal on disk, nothing is ever written.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    database?.close();
    if (error instanceof Error && 'errcode' in error && error.errcode === busy) return undefined;
    throw error instanceof FileLockError ? error : cannotLock(path, error);
  }
  const connection = database;
  const release = (): void => {
    if (connection.isOpen) connection.close();
  };
  return { release, [Symbol.dispose]: release };
}

/** Callers in this process take turns before the file is touched. One entry per mutex in use. */
const turns = new Map<string, { readonly limit: ReturnType<typeof pLimit>; callers: number }>();

/**
 * Runs one operation at a time across all processes that use the same file. The file exists only while the
 * mutex is held or waited for. Returns `timed-out` if another process held it for too long.
 * @param timeout how long to wait for the mutex, in milliseconds
 * @throws FileLockError, the reason of the signal, what the operation throws
 */
export async function withFileMutex<Result>(
  path: string,
  timeout: number,
  signal: AbortSignal | undefined,
  operation: () => Promise<Result>,
): Promise<{ readonly result: Result } | 'timed-out'> {
  const canonical = join(await realpath(dirname(path)), basename(path));
  const turn = turns.get(canonical) ?? { limit: pLimit(1), callers: 0 };
  turns.set(canonical, turn);
  turn.callers += 1;
  try {
    return await turn.limit(async () => {
      const deadline = performance.now() + timeout;
      for (;;) {
        signal?.throwIfAborted();
        await using mutex = await tryMutex(canonical);
        if (mutex !== undefined) return { result: await operation() };
        if (performance.now() > deadline) return 'timed-out';
        await sleep(retryDelay * (1 + Math.random()), signal);
      }
    });
  } finally {
    turn.callers -= 1;
    if (turn.callers === 0) turns.delete(canonical);
  }
}

/**
 * Takes the mutex if it is free. Its file is removed on release, so the lock counts only if the path still
 * names the locked file. To check that, the file is kept open until the end: closing it earlier would release
 * the lock.
 */
async function tryMutex(path: string): Promise<AsyncDisposable | undefined> {
  const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  await using resources = new AsyncDisposableStack();
  const file = resources.use(await open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o644));
  const lock = tryFileLock(path);
  if (lock === undefined) return undefined;
  resources.use(lock);
  if (!(await isAt(file, path))) return undefined;
  resources.defer(() => unlink(path));
  return resources.move();
}

async function isAt(file: FileHandle, path: string): Promise<boolean> {
  const [opened, named] = await Promise.all([
    file.stat({ bigint: true }),
    stat(path, { bigint: true }).catch(() => undefined),
  ]);
  return opened.ino === named?.ino && opened.dev === named.dev;
}

function loadSqlite(path: string): typeof DatabaseSync {
  const sqlite = process.getBuiltinModule('node:sqlite');
  // The library may run on a version of Node that lacks it.
  if (sqlite === undefined) throw cannotLock(path, new Error('this version of Node has no node:sqlite'));
  return sqlite.DatabaseSync;
}

function cannotLock(path: string, error: unknown): FileLockError {
  const reason = error instanceof Error ? error.message : String(error);
  return new FileLockError({
    code: 'FILE_ERROR',
    message: `${path} cannot be locked: ${reason}`,
    hint: 'Use a directory on a file system that supports locks, with Node 24 or later.',
    facts: { path, reason },
  });
}
