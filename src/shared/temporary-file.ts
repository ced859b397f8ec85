import { randomUUID } from 'node:crypto';
import { access, open, rm, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A file that is gone when its scope ends. */
export interface TemporaryFile extends AsyncDisposable {
  /** Opens for reading and writing as long as the scope lasts. */
  readonly path: string;
  readonly handle: FileHandle;
}

/**
 * Makes an empty private file in `directory` (default: the system's for temporary files, so TMPDIR
 * counts). Where the system names open files in /proc, the file has no other name: nothing is left
 * behind even when the process is killed. Use with `await using`.
 */
export async function createTemporaryFile(directory: string = tmpdir()): Promise<TemporaryFile> {
  const name = join(directory, `kmm-sign-${randomUUID()}`);
  const handle = await open(name, 'wx+', 0o600);
  const unnamed = `/proc/self/fd/${handle.fd}`;
  const canUnlink = await access(unnamed).then(
    () => true,
    () => false,
  );
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
