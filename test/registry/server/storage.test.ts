import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { finished, startProgram } from '../../cli/run-program.ts';
import {
  describeContent,
  hashOf,
  mediaType,
  pushBlob,
  pushManifest,
} from '../../support/distribution-client.ts';
import { describeWith } from '../../support/programs.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-durability-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describeWith(['strace'], 'the storage of the registry', ({ strace }) => {
  /** Serves with its system calls written down, and some of them tampered with. */
  async function serve(...tampering: string[]): Promise<{ base: string; stop: () => Promise<string> }> {
    const log = join(directory, 'trace');
    const child = startProgram(
      ['registry', '--root', join(directory, 'root'), '--listen', '127.0.0.1:0', '--format', 'json'],
      {
        through: [
          ...`${strace} -f -qq -e trace=fdatasync,link,rename -e signal=none -o ${log}`.split(' '),
          ...tampering,
        ],
        // Calls are counted by thread.
        env: { UV_THREADPOOL_SIZE: '1' },
      },
    );
    const [line] = (await once(child.stdout ?? child, 'data')) as [Buffer];
    const { url } = JSON.parse(line.toString()) as { url: string };
    const stop = async (): Promise<string> => {
      const traced = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8');
      process.kill(Number(traced.trim().split(' ')[0]), 'SIGTERM');
      await finished(child);
      return readFile(log, 'utf8');
    };
    return { base: `${url}/v2/a`, stop };
  }

  test('has a blob, a manifest and a tag on the disk before they get their names', async () => {
    const { base, stop } = await serve();
    await pushBlob(base, '{}');
    const config = describeContent(mediaType.config, '{}');
    const document = { schemaVersion: 2, mediaType: mediaType.manifest, config, layers: [] };
    await pushManifest(base, { reference: '1.0', type: mediaType.manifest, document });
    const trace = await stop();
    const calls = trace.split('\n').flatMap((line) => {
      const [, call = ''] = /^\d+ +(fdatasync|link|rename)\(/.exec(line) ?? [];
      const [, place = ''] = /root\/(blobs|repositories\/a\/_\w+)\/[^"]*"\) = 0/.exec(line) ?? [];
      return call === 'fdatasync' || place !== '' ? [`${call} ${place}`.trim()] : [];
    });
    const blob = ['fdatasync', 'link repositories/a/_blobs', 'link blobs'];
    const manifest = ['fdatasync', 'rename repositories/a/_manifests'];
    const tag = ['fdatasync', 'rename repositories/a/_tags'];
    expect(calls).toEqual([...blob, ...manifest, ...tag]);
  });

  test('has no blob in a repository when there was no room to keep it for all', async () => {
    // The first is that of content which is not there yet.
    const { base, stop } = await serve('-e', 'inject=link:error=ENOSPC:when=3');
    const url = `${base}/blobs/uploads/?digest=${hashOf('content')}`;
    const push = async (): Promise<number> => (await fetch(url, { method: 'POST', body: 'content' })).status;
    expect(await push()).toBe(507);
    expect((await fetch(`${base}/blobs/${hashOf('content')}`)).status).toBe(404);
    expect(await push()).toBe(201);
    expect((await fetch(`${base}/blobs/${hashOf('content')}`)).status).toBe(200);
    await stop();
  });
});
