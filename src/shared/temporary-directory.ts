import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const open = new Set<string>();
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
  open.add(path);
  if (!removesAtExit) {
    removesAtExit = true;
    process.once('exit', () => {
      for (const directory of open) rmSync(directory, { recursive: true, force: true });
    });
  }
  return {
    path,
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true });
      open.delete(path);
    },
  };
}
