import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RegistryClient } from '../../src/registry/image/client.ts';
import { KmmError } from '../../src/shared/errors.ts';
import type { Signer } from '../../src/signer/cms/signer.ts';
import { signImage } from '../../src/signer/sign-image.ts';
import { verifyImage } from '../../src/signer/inspect-image.ts';
import { faults, startFaultProxy, type Fault, type FaultProxy } from '../support/fault-proxy.ts';
import { noise } from '../registry/transfer/transfer-server.ts';
import { storeImage, withParents } from '../support/images.ts';
import { describeEachRegistry, type TestRegistry } from '../support/registries.ts';
import { createTestKey, helloModule } from '../support/signing.ts';

// Every request of a run that signs an image is broken once, in every way. After each the tag names either the
// whole signed image or nothing, and a run without faults gets it right.

const modulePath = 'lib/modules/6.1.0/extra/hello.ko';

async function withClient<Result>(use: (client: RegistryClient) => Promise<Result>): Promise<Result> {
  const client = new RegistryClient({ plainHttp: true, retryDelay: 1, credentials: {} });
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

describeEachRegistry(
  'signing while the connection to the registry breaks',
  (start) => {
    let folder: string;
    let registry: TestRegistry;
    let proxy: FaultProxy;
    let signer: Signer;
    let requests: number;
    let count = 0;

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-faults-'));
      registry = await start();
      proxy = await startFaultProxy({ target: registry.url });
      ({ signer } = await createTestKey(folder));
      await withClient(async (client) => {
        const entries = withParents(modulePath, await helloModule);
        const layers = [
          { entries: [{ name: 'etc/' }, { name: 'etc/motd', content: 'untouched' }] },
          { entries },
        ];
        const source = client.repository({ registry: registry.host, repository: 'vendor/driver' });
        await storeImage(source, { layers }, '1.0');
        const large = { entries: [...entries, { name: 'noise', content: noise(6_000_000) }] };
        const other = client.repository({ registry: registry.host, repository: 'vendor/large' });
        await storeImage(other, { layers: [large] }, '1.0');
      });
      await sign(nextTag());
      requests = proxy.requests.length;
    });

    afterAll(async () => {
      await proxy.close();
      await registry.close();
      await rm(folder, { recursive: true, force: true });
    });

    function nextTag(): string {
      count += 1;
      return `run-${count}`;
    }

    /** Signs through the proxy into a repository of its own; gives the error, if there is one. */
    async function sign(run: string, repository = 'vendor/driver'): Promise<unknown> {
      return withClient(async (client) => {
        const at = (name: string) => client.repository({ registry: proxy.host, repository: name });
        return signImage({
          source: { repository: at(repository), selector: { tag: '1.0' } },
          destination: { repository: at(`signed/${run}`), tag: '1.0' },
          signer,
          temporaryDirectory: folder,
        }).then(
          () => undefined,
          (error: unknown) => error,
        );
      });
    }

    /** What the registry itself, without the proxy, has under the tag. */
    async function stateOf(run: string): Promise<string | undefined> {
      return withClient(async (client) => {
        const repository = client.repository({ registry: registry.host, repository: `signed/${run}` });
        try {
          const report = await verifyImage({
            image: { repository, selector: { tag: '1.0' } },
            certificates: [signer.certificate],
          });
          return report.platforms.flatMap(({ modules }) => modules.map(({ state }) => state)).join(' ');
        } catch (error) {
          if (error instanceof KmmError && error.code === 'NOT_FOUND') return undefined;
          throw error;
        }
      });
    }

    /** Breaks one request of a run; says what came of it. */
    async function breakAt(position: number, fault: Fault): Promise<string> {
      const run = nextTag();
      proxy.breakAt(position, fault);
      const error = await sign(run);
      const state = await stateOf(run);
      if (error === undefined) return `signed: ${state}`;
      if (!(error instanceof KmmError)) return `not an error of ours: ${inspect(error)}`;
      if (state !== undefined && state !== 'trusted')
        return `failed with ${error.code}, but published: ${state}`;
      proxy.reset();
      const again = await sign(run);
      return `failed cleanly, then signed: ${again === undefined ? await stateOf(run) : inspect(again)}`;
    }

    test.each(Object.entries(faults))('ends well or cleanly: %s', async (_name, fault) => {
      const before = await readdir(folder);
      const outcomes: string[] = [];
      for (let position = 0; position < requests; position += 1)
        outcomes.push(await breakAt(position, fault));
      const good = ['signed: trusted', 'failed cleanly, then signed: trusted'];
      expect(
        outcomes
          .map((outcome, position) => ({ position, outcome }))
          .filter(({ outcome }) => !good.includes(outcome)),
      ).toEqual([]);
      expect(outcomes.length).toBeGreaterThan(8);
      expect(await readdir(folder)).toEqual(before);
    });

    test.each(Object.entries(faults))(
      'sends a large layer once more, whole, if that ends while it is written: %s',
      async (_name, fault) => {
        const before = await readdir(folder);
        const run = nextTag();
        proxy.reset(({ method }) => (method === 'PATCH' ? fault : undefined));
        expect(await sign(run, 'vendor/large')).toBeUndefined();
        expect(proxy.requests.filter(({ method }) => method === 'PATCH')).toHaveLength(1);
        expect(await stateOf(run)).toBe('trusted');
        expect(await readdir(folder)).toEqual(before);
      },
    );
  },
  ['docker-registry'],
);

describe('a registry that answers nothing but 500', () => {
  test('is an error of the network, and leaves nothing behind', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-faults-'));
    await using proxy = await startFaultProxy({
      target: 'http://127.0.0.1:9',
      choose: () => ({ kind: 'status', status: 500 }),
    });
    const client = new RegistryClient({ plainHttp: true, retryDelay: 1, credentials: {} });
    const { signer } = await createTestKey(folder);
    const repository = client.repository({ registry: proxy.host, repository: 'vendor/driver' });
    const before = await readdir(folder);
    await expect(
      signImage({
        source: { repository, selector: { tag: '1.0' } },
        destination: { repository, tag: 'signed' },
        signer,
        temporaryDirectory: folder,
      }),
    ).rejects.toMatchObject({ code: 'UNEXPECTED_RESPONSE' });
    expect(await readdir(folder)).toEqual(before);
    await client.close();
    await rm(folder, { recursive: true, force: true });
  });
});
