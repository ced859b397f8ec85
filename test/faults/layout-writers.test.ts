import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, readdir, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import pLimit from 'p-limit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LayoutRepository } from '../../src/registry/image/layout-repository.ts';
import { withFileMutex } from '../../src/shared/file-lock.ts';
import { finished, runProgram, startProgram } from '../cli/run-program.ts';
import { storeImage, withParents } from '../support/images.ts';
import { describeWith } from '../support/programs.ts';
import { createTestKey, helloModule, type TestKey } from '../support/signing.ts';
import { waitFor } from '../support/wait-for.ts';
import { describeBlob, noise } from '../registry/transfer/transfer-server.ts';

const run = promisify(execFile);
const patience = { timeout: 30_000, interval: 1 };

let folder: string;
let key: TestKey;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-layouts-'));
  key = await createTestKey(folder);
  const layers = [{ entries: withParents('lib/modules/6.1.0/extra/hello.ko', await helloModule) }];
  await storeImage(new LayoutRepository(join(folder, 'source')), { layers }, '1.0');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const signArguments = (layout: string, tag: string): string[] =>
  [
    ['sign', `oci:${join(folder, 'source')}:1.0`, `oci:${layout}:${tag}`, '--quiet'],
    ['--key', key.key, '--cert', key.certificate],
  ].flat();

/** What a finished run leaves: three entries, and blobs whose names are their hashes. */
async function describeLayout(layout: string): Promise<unknown> {
  const blobs = join(layout, 'blobs/sha256');
  const wrong: string[] = [];
  for (const name of await readdir(blobs)) {
    const hash = createHash('sha256').update(await readFile(join(blobs, name)));
    if (hash.digest('hex') !== name) wrong.push(name);
  }
  return { entries: await readdir(layout), wrong };
}

const sound = { entries: ['blobs', 'index.json', 'oci-layout'], wrong: [] };

/** Names a manifest again and again, each time with another tag. */
const tagger = `
  import { readFile } from 'node:fs/promises';
  import { LayoutRepository } from ${JSON.stringify(new URL('../../src/registry/image/layout-repository.ts', import.meta.url).href)};
  const [layout, source, digest, name, count] = process.argv.slice(1);
  const { raw } = await new LayoutRepository(source).getManifest({ digest });
  for (let at = 0; at < Number(count); at += 1) {
    await new LayoutRepository(layout).putManifest(raw, { tag: name + '-' + at });
  }
`;

/** Tells whether a process has a file open. */
async function isOpenIn(pid: number | undefined, path: string): Promise<boolean> {
  const descriptors = `/proc/${pid}/fd`;
  const links = (await readdir(descriptors)).map((name) => readlink(join(descriptors, name)));
  const files = await Promise.allSettled(links);
  return files.some((file) => file.status === 'fulfilled' && file.value === path);
}

test('a process that waited to make a layout keeps what another one put there in the meantime', async () => {
  const layout = join(folder, 'made-in-the-meantime');
  const source = join(folder, 'source');
  await mkdir(layout);
  const lock = join(layout, '.kmm-sign.lock');
  const child = await withFileMutex(lock, 0, undefined, async () => {
    const started = startProgram(signArguments(layout, 'second'));
    await waitFor(async () => expect(await isOpenIn(started.pid, lock)).toBe(true), patience);
    for (const name of ['blobs', 'index.json', 'oci-layout']) {
      await cp(join(source, name), join(layout, name), { recursive: true });
    }
    return started;
  });
  if (child === 'timed-out') throw new Error('somebody else holds the mutex');
  expect(await finished(child.result)).toMatchObject({ exitCode: 0, stderr: '' });
  expect(await new LayoutRepository(layout).listTags()).toEqual(['1.0', 'second']);
  expect(await describeLayout(layout)).toEqual(sound);
});

describeWith(['umoci'], 'processes that write to one layout at a time', ({ umoci }) => {
  const tagsIn = async (layout: string): Promise<string[]> =>
    (await run(umoci, ['ls', '--layout', layout])).stdout.trim().split('\n').toSorted();

  test('all keep their tags when they sign, the first of them also when it makes the layout', async () => {
    const layout = join(folder, 'signed', 'at-once');
    const tags = Array.from({ length: 6 }, (_, at) => `t${at}`);
    const ends = await Promise.all(tags.map((tag) => runProgram(signArguments(layout, tag))));
    expect(ends.map(({ exitCode, stderr }) => [exitCode, stderr])).toEqual(tags.map(() => [0, '']));
    expect(await tagsIn(layout)).toEqual(tags);
    expect(await describeLayout(layout)).toEqual(sound);
  });

  test('lose none of many tags', async () => {
    const layout = join(folder, 'tagged');
    const source = join(folder, 'source');
    const { digest } = await new LayoutRepository(source).resolve({ tag: '1.0' });
    const names = ['a', 'b', 'c', 'd', 'e'];
    await Promise.all(
      names.map((name) =>
        run(process.execPath, ['--input-type=module', '-e', tagger, layout, source, digest, name, '20']),
      ),
    );
    const expected = names.flatMap((name) => Array.from({ length: 20 }, (_, at) => `${name}-${at}`));
    expect(await tagsIn(layout)).toEqual(expected.toSorted());
    expect(await describeLayout(layout)).toEqual(sound);
  });
});

/** A system call that changes a directory, and which of its name it is in a run, from 1: strace counts by name. */
interface Call {
  readonly name: string;
  readonly count: number;
}

const traced = ['mkdir', 'rename', 'unlink', 'rmdir'];
// One thread for files, since strace counts by thread as well.
const oneThread = { UV_THREADPOOL_SIZE: '1' };

/** Lists the calls with which a run changes what is below a directory. */
function callsBelow(directory: string, trace: string): Call[] {
  const counts = new Map<string, number>();
  return trace.split('\n').flatMap((line) => {
    const [, name, path] = /^\d+ +(\w+)\("([^"]*)"/.exec(line) ?? [];
    if (name === undefined || path === undefined) return [];
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    return path.startsWith(directory) ? [{ name, count }] : [];
  });
}

const programs = ['strace', 'umoci', 'skopeo'] as const;
describeWith(programs, 'a run that is killed while it writes to a layout', ({ strace, umoci, skopeo }) => {
  test('leaves a layout that is valid, and nothing that the next run does not clear away', async () => {
    const own = await mkdtemp(join(folder, 'killed-'));
    const undisturbed = join(own, 'undisturbed');
    const trace = join(own, 'trace');
    const under = [strace, '-f', '-qq', '-e', `trace=${traced.join()}`];
    const traceable = { through: [...under, '-o', trace], env: oneThread };
    expect(await runProgram(signArguments(undisturbed, '1.0'), traceable)).toMatchObject({ exitCode: 0 });
    const calls = callsBelow(undisturbed, await readFile(trace, 'utf8'));
    const index = await readFile(join(undisturbed, 'index.json'));

    /** Kills a run at the entry of a call, looks at what is left, and runs it again. */
    const killAt = async ({ name, count }: Call): Promise<readonly [boolean, string]> => {
      const layout = join(own, `${name}-${count}`);
      const inject = `inject=${name}:signal=SIGKILL:when=${count}`;
      const through = [strace, '-f', '-qq', '-e', `trace=${name}`, '-e', inject, '-o', '/dev/null'];
      const TMPDIR = await mkdtemp(join(own, 'tmp-'));
      const options = { through, env: { ...oneThread, TMPDIR } };
      // Not killed is a run with fewer calls: two blobs that are written at a time may both create a directory.
      const { signal, exitCode } = await runProgram(signArguments(layout, '1.0'), options);
      expect(signal ?? exitCode).toBeOneOf(['SIGKILL', 0]);
      const names = await readdir(layout).catch((): string[] => []);
      const tags = names.includes('oci-layout') ? (await run(umoci, ['ls', '--layout', layout])).stdout : '';
      const copy = ['--insecure-policy', 'copy', `oci:${layout}:1.0`, `dir:${layout}-copy`];
      if (tags.trim() !== '') await run(skopeo, copy);
      expect(await runProgram(signArguments(layout, '1.0'))).toMatchObject({ exitCode: 0, stderr: '' });
      expect(await describeLayout(layout)).toEqual(sound);
      expect(await readFile(join(layout, 'index.json'))).toEqual(index);
      return [signal === 'SIGKILL', tags.trim()];
    };
    const ends = await pLimit(2).map(calls, killAt);
    expect(ends.filter(([killed]) => killed).length).toBeGreaterThan(30);
    expect(ends[0]).toEqual([true, '']);
    expect(ends.at(-1)).toEqual([true, '1.0']);
  }, 300_000);
});

describe('what lies in a layout besides it', () => {
  const blob = noise(100_000);

  test('is left alone while the process that is writing it lives', async () => {
    const directory = join(folder, 'alive');
    const layout = new LayoutRepository(directory);
    await storeImage(layout, { layers: [] }, 'first');
    const waiting = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const written = layout.putBlob(describeBlob(blob), () =>
      Readable.from(
        (async function* () {
          yield blob.subarray(0, 70_000);
          begun.resolve();
          await waiting.promise;
          yield blob.subarray(70_000);
        })(),
      ),
    );
    await begun.promise;
    expect(await runProgram(signArguments(directory, 'second'))).toMatchObject({ exitCode: 0, stderr: '' });
    waiting.resolve();
    expect(await written).toBe('uploaded');
    expect(await describeLayout(directory)).toEqual(sound);
    expect((await layout.listTags()).toSorted()).toEqual(['first', 'second']);
  });

  test('is left alone when it only has such a name', async () => {
    const directory = join(folder, 'foreign');
    const layout = new LayoutRepository(directory);
    await storeImage(layout, { layers: [] }, 'first');
    const outside = join(folder, 'outside');
    await mkdir(join(directory, '.kmm-sign-000000000001'));
    await writeFile(join(directory, '.kmm-sign-000000000001', 'photo.jpg'), 'precious');
    await mkdir(join(directory, '.kmm-sign-000000000002'));
    await symlink(outside, join(directory, '.kmm-sign-000000000002', 'lock'));
    await mkdir(join(directory, '.kmm-sign-000000000003'));
    await writeFile(join(directory, '.kmm-sign-000000000003', 'lock'), 'precious');
    await writeFile(join(directory, '.kmm-sign-000000000004'), 'precious');
    await symlink(join(folder, 'source'), join(directory, '.kmm-sign-000000000005'));
    await mkdir(join(directory, '.kmm-sign-mine'));
    const before = await readdir(directory, { recursive: true });
    await layout.putManifest((await layout.getManifest({ tag: 'first' })).raw, { tag: 'second' });
    expect(await readdir(directory, { recursive: true })).toEqual(before);
    expect(await readdir(folder)).not.toContain('outside');
  });
});
