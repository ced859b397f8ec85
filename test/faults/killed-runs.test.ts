import { mkdirSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RegistryClient } from '../../src/registry/image/client.ts';
import { finished, startProgram, type Finished } from '../cli/run-program.ts';
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.ts';
import { storeImage, withParents } from '../support/images.ts';
import { describeWith } from '../support/programs.ts';
import { startDockerRegistry, type TestRegistry } from '../support/registries.ts';
import { createTestKey, helloModule, type TestKey } from '../support/signing.ts';

// The program is killed at each request of a run that signs an image. The tag then names the whole result or
// nothing, no temporary file is left, and the same command gets to the same digest.

describeWith(['docker-registry', 'xz'], 'a run that is killed at any of its requests', ({ xz }) => {
  let folder: string;
  let temporary: string;
  let registry: TestRegistry;
  let proxy: FaultProxy;
  let client: RegistryClient;
  let key: TestKey;
  let requests: number;
  let undisturbed: string | undefined;
  let count = 0;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-kills-'));
    registry = await startDockerRegistry();
    proxy = await startFaultProxy({ target: registry.url });
    client = new RegistryClient({ plainHttp: true, credentials: {} });
    key = await createTestKey(folder);
    const hello = await helloModule;
    const packed = execFileSync(xz, ['--check=crc32', '-c'], { input: hello });
    const layers = [
      { entries: [{ name: 'etc/' }, { name: 'etc/motd', content: 'untouched' }] },
      { entries: withParents('lib/modules/6.1.0/extra/hello.ko', hello) },
      { entries: withParents('lib/modules/6.1.0/updates/packed.ko.xz', packed) },
    ];
    const source = client.repository({ registry: registry.host, repository: 'vendor/driver' });
    await storeImage(source, { layers }, '1.0');
    const first = nextRun();
    const { exitCode, stderr } = await sign(first);
    if (exitCode !== 0) throw new Error(stderr);
    requests = proxy.requests.length;
    undisturbed = await digestOf(first);
  });

  afterAll(async () => {
    await client.close();
    await proxy.close();
    await registry.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** A repository that nobody has written to, and a temporary directory that is empty. */
  function nextRun(): string {
    count += 1;
    temporary = join(folder, `tmp-${count}`);
    mkdirSync(temporary);
    return `signed/run-${count}`;
  }

  /** Signs through the proxy; `kill` is sent when the request at `position` has come, before it goes on. */
  async function sign(run: string, kill?: { signal: NodeJS.Signals; position: number }): Promise<Finished> {
    const at = (repository: string) => `${proxy.host}/${repository}:1.0`;
    const child = startProgram(
      [
        ['sign', at('vendor/driver'), at(run), '--plain-http', '--retries', '0', '--quiet'],
        ['--key', key.key, '--cert', key.certificate],
      ].flat(),
      { env: { TMPDIR: temporary } },
    );
    proxy.reset(({ position }) => {
      if (position === kill?.position) child.kill(kill.signal);
      return undefined;
    });
    return finished(child);
  }

  /** What the registry itself has under the tag. */
  async function digestOf(run: string): Promise<string | undefined> {
    const answer = await fetch(`${registry.url}/v2/${run}/manifests/1.0`, {
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    });
    await answer.arrayBuffer();
    return answer.status === 404 ? undefined : (answer.headers.get('docker-content-digest') ?? 'no digest');
  }

  test.each([
    ['SIGKILL', { exitCode: null, signal: 'SIGKILL' }, ''],
    ['SIGINT', { exitCode: 130, signal: null }, 'Interrupted'],
  ] as const)(
    '%s',
    async (signal, end, message) => {
      expect(undisturbed).toMatch(/^sha256:/);
      const states: (string | undefined)[] = [];
      for (let position = 0; position < requests; position += 1) {
        const run = nextRun();
        const killed = await sign(run, { signal, position });
        states.push(await digestOf(run));
        const left = await readdir(temporary);
        const again = await sign(run);
        expect({ position, killed, left, again, digest: await digestOf(run) }).toMatchObject({
          position,
          killed: { ...end, stderr: expect.stringContaining(message) },
          left: [],
          again: { exitCode: 0 },
          digest: undisturbed,
        });
      }
      expect(states.filter((state) => state !== undefined && state !== undisturbed)).toEqual([]);
      // Most requests come before the tag moves.
      expect(states.indexOf(undefined)).toBe(0);
      expect(requests).toBeGreaterThan(10);
    },
    180_000,
  );
});
