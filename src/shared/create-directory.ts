import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Creates a directory, and those above it that are missing. One that exists is left as it is.
 *
 * Node's mkdir with `recursive` never ends below /proc: whatever is created there has no parent as far as the
 * error says, although the parent exists. Here each level is tried twice at most.
 * @throws the error of mkdir(2)
 */
export async function createDirectory(path: string): Promise<void> {
  const error = await tryToCreate(path);
  if (error === undefined) return;
  const parent = dirname(path);
  if (error.code !== 'ENOENT' || parent === path) throw error;
  await createDirectory(parent);
  const second = await tryToCreate(path);
  if (second !== undefined) throw second;
}

/** Returns why a directory is not there afterwards. */
async function tryToCreate(path: string): Promise<NodeJS.ErrnoException | undefined> {
  // Most are there: to look takes a third of the time that it takes to fail.
  if (await isDirectory(path)) return undefined;
  try {
    await mkdir(path);
    return undefined;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return (await isDirectory(path)) ? undefined : error;
  }
}

async function isDirectory(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isDirectory() === true;
}
