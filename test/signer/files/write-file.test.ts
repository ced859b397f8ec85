import { execFile } from 'node:child_process';
import { lstat, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { replaceFile, writeFilesAtomically } from '../../../src/signer/files/write-file.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../src/shared/temporary.ts';
import type { ByteSource } from '../../../src/shared/byte-source.ts';

const run = promisify(execFile);
let folder: TemporaryDirectory;
const at = (name: string): string => join(folder.path, name);

beforeEach(async () => {
  folder = await createTemporaryDirectory();
});
afterEach(() => folder[Symbol.asyncDispose]());

/** Content that does something while it is written. */
function contentThat(acts: () => Promise<void>): ByteSource {
  return {
    size: 1,
    read: () => Promise.reject(new Error('unused')),
    async *stream() {
      await acts();
      yield Buffer.from('x');
    },
  } as unknown as ByteSource;
}

test('files that belong together appear all or not at all', async () => {
  await writeFile(at('certificate'), 'precious');
  const files = ['key', 'certificate'].map((name) => ({
    path: at(name),
    contents: [Buffer.from('new')],
    mode: 0o600,
  }));
  await expect(writeFilesAtomically(files, { overwrite: false })).rejects.toMatchObject({
    code: 'FILE_ERROR',
    message: `${at('certificate')} already exists`,
  });
  expect(await readdir(folder.path)).toEqual(['certificate']);
  expect(await readFile(at('certificate'), 'utf8')).toBe('precious');
  await writeFilesAtomically(files, { overwrite: true });
  expect((await readdir(folder.path)).toSorted()).toEqual(['certificate', 'key']);
});

test('nobody else can read a file before it has its mode', async () => {
  const modes: number[] = [];
  const content = contentThat(async () => {
    const [name = ''] = await readdir(folder.path);
    modes.push((await stat(at(name))).mode & 0o777);
  });
  await writeFilesAtomically([{ path: at('file'), contents: [content], mode: 0o644 }], { overwrite: false });
  expect(modes).toEqual([0o600]);
  expect((await stat(at('file'))).mode & 0o777).toBe(0o644);
});

test('a file that cannot be written to its end leaves nothing', async () => {
  const content = contentThat(() => Promise.reject(new Error('broken')));
  const contents = [Buffer.from('first'), content];
  const writing = replaceFile(at('file'), contents, 0o644);
  await expect(writing).rejects.toMatchObject({ code: 'FILE_ERROR' });
  expect(await readdir(folder.path)).toEqual([]);
});

test('what is not a regular file is not replaced', async () => {
  await run('mkfifo', [at('pipe')]);
  const contents = [Buffer.from('x')];
  const writing = replaceFile(at('pipe'), contents, 0o644);
  await expect(writing).rejects.toMatchObject({ code: 'FILE_ERROR' });
  expect((await lstat(at('pipe'))).isFIFO()).toBe(true);
  expect(await readdir(folder.path)).toEqual(['pipe']);
});
