/** Debian packages and a bare Debian system, downloaded once and unpacked. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const outputLimit = 64 * 1024 * 1024;

/** Unpacks packages into one new directory. */
export async function unpackPackages(packages: readonly string[], directory: string): Promise<void> {
  const archives = `${directory}.packages`;
  await mkdir(archives, { recursive: true });
  await mkdir(directory, { recursive: true });
  await run('apt-get', ['download', ...packages], { cwd: archives, maxBuffer: outputLimit });
  for (const archive of (await readdir(archives)).toSorted()) {
    await run('dpkg-deb', ['--extract', join(archives, archive), directory]);
  }
  await rm(archives, { recursive: true, force: true });
}

/** A bare Debian 12 in `directory`; needs root. */
export async function bareSystem(directory: string): Promise<void> {
  await run('debootstrap', ['--variant=minbase', 'bookworm', directory], { maxBuffer: outputLimit });
  for (const cache of ['var/cache/apt', 'proc', 'sys', 'dev']) {
    await rm(join(directory, cache), { recursive: true, force: true });
  }
}

/** Makes a directory once: a run that was cut short leaves nothing that looks complete. */
export async function once(directory: string, make: (unfinished: string) => Promise<void>): Promise<string> {
  if (!existsSync(directory)) {
    const unfinished = `${directory}.unfinished`;
    await rm(unfinished, { recursive: true, force: true });
    await make(unfinished);
    await rename(unfinished, directory);
  }
  return directory;
}
