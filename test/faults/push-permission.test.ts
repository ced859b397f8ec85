import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RegistryClient } from '../../src/registry/image/client.ts';
import type { ImageRepository } from '../../src/registry/image/repository.ts';
import { digestOf } from '../../src/registry/model/digest.ts';
import { Secret } from '../../src/shared/secret.ts';
import { runProgram, type Finished } from '../cli/run-program.ts';
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.ts';
import { storeImage, withParents } from '../support/images.ts';
import { describeWith } from '../support/programs.ts';
import { startDockerRegistry, type TestRegistry } from '../support/registries.ts';
import { waitFor } from '../support/wait-for.ts';
import { createTestKey, helloModule, type TestKey } from '../support/signing.ts';
import { startTokenServer, type TokenServer } from '../support/token-server.ts';

// Somebody who may read everything and write to one repository only.

const owner = { username: 'owner', password: 'wonder:land' };
const reader = { username: 'reader', password: 'rabbit:hole', mayPushTo: ['mine/driver'] };

describeWith(['docker-registry', 'openssl'], 'the permission to push', () => {
  let folder: string;
  /** The request for the layer with the module. */
  let getLayer: string;
  let tokens: TokenServer;
  let registry: TestRegistry;
  let proxy: FaultProxy;
  let key: TestKey;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-push-'));
    tokens = await startTokenServer({ users: [owner, reader] });
    registry = await startDockerRegistry({ authentication: tokens });
    proxy = await startFaultProxy({ target: registry.url });
    key = await createTestKey(folder);
    const explicit = { username: owner.username, password: new Secret(owner.password) };
    const client = new RegistryClient({ plainHttp: true, credentials: { explicit } });
    const layers = [{ entries: withParents('lib/modules/6.1.0/extra/hello.ko', await helloModule) }];
    const source = client.repository({ registry: registry.host, repository: 'vendor/driver' });
    await storeImage(source, { layers }, '1.0');
    const image = await source.getManifest({ tag: '1.0' });
    if (image.kind !== 'image') throw new Error('it is not an image');
    getLayer = `GET vendor/driver/blobs/${image.layers[0]?.digest}`;
    await client.close();
  });

  afterAll(async () => {
    await proxy.close();
    await registry.close();
    await tokens.close();
    await rm(folder, { recursive: true, force: true });
  });

  const sign = (source: string, destination: string, more: readonly string[] = []): Promise<Finished> => {
    proxy.reset();
    return runProgram(
      [
        ['sign', `${proxy.host}/${source}`, `${proxy.host}/${destination}`, '--quiet'],
        ['--key', key.key, '--cert', key.certificate],
        ['--username', reader.username, '--password-stdin', '--plain-http', '--retries', '0', ...more],
      ].flat(),
      { input: reader.password },
    );
  };
  const sent = (): string[] =>
    proxy.requests.map(
      ({ method, path }) => `${method} ${path.replace(/^\/v2\//, '').replace(/(?<=uploads)[?/].*$/, '')}`,
    );

  test('that is missing is found out before a layer is read', async () => {
    const { exitCode, stderr } = await sign('vendor/driver:1.0', 'vendor/signed:1.0');
    expect(exitCode).toBe(4);
    expect(stderr).toContain(`Cannot push to ${proxy.host}/vendor/signed`);
    expect(stderr).toContain('"reader"');
    expect(sent()).toContain('POST vendor/signed/blobs/uploads');
    expect(sent()).not.toContain(getLayer);
  });

  test('that is there is found out by an upload that takes a blob', async () => {
    const { exitCode, stderr } = await sign('vendor/driver:1.0', 'mine/driver:1.0');
    expect([exitCode, stderr]).toEqual([0, '']);
    const requests = sent();
    const opened = requests.indexOf('POST mine/driver/blobs/uploads');
    expect(opened).not.toBe(-1);
    expect(opened).toBeLessThan(requests.indexOf(getLayer));
    expect(requests.filter((line) => line.startsWith('DELETE'))).toEqual([]);
    const count = (line: string) => requests.filter((one) => one === line).length;
    expect(count('PUT mine/driver/blobs/uploads')).toBe(2);
    expect(count('POST mine/driver/blobs/uploads')).toBe(2);
  });

  test('that is there for nothing is found out by uploads that are cancelled', async () => {
    const { exitCode } = await sign('vendor/driver:1.0', 'mine/driver:2.0', ['--file', '/no/such.ko']);
    expect(exitCode).not.toBe(0);
    const writes = sent().filter((line) => !/^(?:GET|HEAD) /.test(line));
    // Each may be sent again, with another token.
    expect([...new Set(writes)]).toEqual([
      'POST mine/driver/blobs/uploads',
      'DELETE mine/driver/blobs/uploads',
    ]);
  });

  test('does not depend on uploads that the registry has forgotten since', async () => {
    const explicit = { username: owner.username, password: new Secret(owner.password) };
    await using client = new RegistryClient({ plainHttp: true, credentials: { explicit }, retryDelay: 1 });
    const repository = client.repository({ registry: registry.host, repository: 'vendor/forgotten' });
    await using _ = await repository.checkPush?.();
    const uploads = join(registry.storage, 'docker/registry/v2/repositories/vendor/forgotten/_uploads');
    const patience = { timeout: 10_000, interval: 5 };
    await waitFor(async () => expect(await readdir(uploads)).toHaveLength(2), patience);
    await rm(uploads, { recursive: true });
    const bytes = Buffer.from('a blob');
    const descriptor = {
      mediaType: 'application/octet-stream',
      digest: digestOf(bytes),
      size: bytes.length,
    };
    expect(await repository.putBlob(descriptor, () => Readable.from([bytes]))).toBe('uploaded');
    expect(await repository.hasBlob(descriptor)).toBe(true);
  });

  test('is not asked for by a dry run', async () => {
    const { exitCode } = await sign('vendor/driver:1.0', 'vendor/signed:1.0', ['--dry-run']);
    expect(exitCode).toBe(0);
    expect(sent().filter((line) => !/^(?:GET|HEAD) /.test(line))).toEqual([]);
  });

  test('is not asked for when the result of an earlier run is there', async () => {
    const { exitCode } = await sign('vendor/driver:1.0', 'mine/driver:1.0');
    expect(exitCode).toBe(0);
    expect(sent().filter((line) => !/^(?:GET|HEAD) /.test(line))).toEqual([]);
  });

  test('is not needed where nothing has to change', async () => {
    const explicit = { username: owner.username, password: new Secret(owner.password) };
    await using client = new RegistryClient({ plainHttp: true, credentials: { explicit } });
    const open = (repository: string): ImageRepository =>
      client.repository({ registry: registry.host, repository });
    const [from, to] = [open('mine/driver'), open('vendor/done')];
    const manifest = await from.getManifest({ tag: '1.0' });
    if (manifest.kind !== 'image') throw new Error('it is not an image');
    for (const blob of [...manifest.layers, manifest.config]) await to.copyBlob(blob, from);
    await to.putManifest(manifest.raw, { tag: '1.0' });
    const { exitCode, stderr } = await sign('vendor/done:1.0', 'vendor/done:1.0');
    expect([exitCode, stderr]).toEqual([0, '']);
  });
});
