import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RegistryClient } from '../../src/registry/image/client.ts';
import type { ImageManifest } from '../../src/registry/model/manifest.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { noise } from '../registry/transfer/transfer-server.ts';
import { makeTar, storeImage, withParents } from '../support/images.ts';
import { describeWith } from '../support/programs.ts';
import { startDockerRegistry, type TestRegistry } from '../support/registries.ts';
import { createTestKey, helloModule, type TestKey } from '../support/signing.ts';
import { runProgram } from './run-program.ts';

// What a signing costs, as far as it does not depend on time.

const base = { entries: withParents('usr/lib/base', 'b'.repeat(100_000)) };
const files = ['usr/share/noise', 'usr/share/more'];

/** Counts what gunzip decoders put out, in every thread: on the handle of blocking ones, else as it is pushed. */
const countInflated = `
const zlib = require('node:zlib');
const { appendFileSync } = require('node:fs');
const count = (bytes) => appendFileSync(process.env.RECORD, bytes + '\\n');
const { createGunzip } = zlib;
const value = (...args) => {
  const decoder = createGunzip(...args);
  const { push, _handle: handle } = decoder;
  const { writeSync } = handle;
  handle.writeSync = (...given) => {
    Reflect.apply(writeSync, handle, given);
    count(given.at(-1) - decoder._writeState[0]);
  };
  decoder.push = (chunk) => {
    if (chunk) count(chunk.length);
    return Reflect.apply(push, decoder, [chunk]);
  };
  return decoder;
};
Object.defineProperty(zlib, 'createGunzip', { value });
`;

/** Expected requests, with names in place of those that stand for them. */
function at(requests: readonly string[], name: string, tag: string): string[] {
  return requests.map((line) => line.replace('DESTINATION', name).replace('TAG', tag)).toSorted();
}

describeWith(['docker-registry', 'openssl'], 'a signing costs', () => {
  let folder: string;
  let registry: TestRegistry;
  let proxy: FaultProxy;
  let key: TestKey;
  let client: RegistryClient;
  /** Bytes of the tar with the module. */
  let moduleTar: Buffer;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-cost-'));
    registry = await startDockerRegistry();
    proxy = await startFaultProxy({ target: registry.url });
    key = await createTestKey(folder);
    client = new RegistryClient({ plainHttp: true });
    await writeFile(join(folder, 'count.cjs'), countInflated);
    moduleTar = await makeTar([
      ...withParents('lib/modules/6.1.0/extra/hello.ko', await helloModule),
      ...files.map((name) => ({ name, content: 'noise'.repeat(200_000) })),
    ]);
    const layers = [base, { tar: moduleTar }];
    await storeImage(repository('vendor/driver'), { layers }, '1.0');
    const module = withParents('lib/modules/6.1.0/extra/hello.ko', await helloModule);
    const large = { entries: [...module, { name: 'noise', content: noise(6_000_000) }] };
    await storeImage(repository('vendor/large'), { layers: [base, large] }, '1.0');
  });

  afterAll(async () => {
    await client?.close();
    await proxy?.close();
    await registry?.close();
    await rm(folder, { recursive: true, force: true });
  });

  const repository = (name: string) => client.repository({ registry: registry.host, repository: name });

  const named = ['--file', '/lib/modules/6.1.0/extra/hello.ko'];

  /** Signs; returns the requests in order of their kinds, and the bytes that were inflated, read and sent. */
  async function sign(destination: string, ...options: readonly string[]) {
    return signFrom('vendor/driver', destination, ...options);
  }

  async function signFrom(source: string, destination: string, ...options: readonly string[]) {
    proxy.reset();
    const record = join(folder, 'inflated');
    await writeFile(record, '');
    const env = { NODE_OPTIONS: `--require=${join(folder, 'count.cjs')}`, RECORD: record };
    const args = ['sign', `${proxy.host}/${source}:1.0`, `${proxy.host}/${destination}`, '--quiet'];
    const keys = ['--key', key.key, '--cert', key.certificate, '--plain-http'];
    expect(await runProgram([...args, ...keys, ...options], { env })).toMatchObject({
      exitCode: 0,
      stderr: '',
    });
    const requests = proxy.requests.map(({ method, path }) =>
      `${method} ${path}`
        .replace(/sha256[:-][0-9a-f]{64}|sha256%3A[0-9a-f]{64}/g, 'DIGEST')
        .replace(/(?<=uploads\/)[^?]+\?.*/, 'UPLOAD')
        .replace(/\/v2\//, ''),
    );
    const lines = (await readFile(record, 'utf8')).split('\n');
    // What a registry says about what it does not have is its own affair.
    const answered = proxy.requests.filter(({ status }) => status < 400);
    return {
      requests,
      inflated: lines.reduce((sum, line) => sum + Number(line), 0),
      down: answered.reduce((sum, { method, bytesDown }) => sum + (method === 'HEAD' ? 0 : bytesDown), 0),
      up: proxy.requests.reduce((sum, { bytesUp }) => sum + bytesUp, 0),
    };
  }

  /** Bytes of an image's manifest, configuration and last layer. */
  async function sizes(name: string, tag: string) {
    const manifest = (await repository(name).getManifest({ tag })) as ImageManifest;
    const layer = manifest.layers.at(-1)?.size ?? 0;
    return { manifest: manifest.raw.bytes.length, config: manifest.config.size, layer };
  }

  /** What is read and what is sent to sign the image: each once, save the new manifest, which is also read back. */
  async function expectedBytes(name: string, tag: string) {
    const [source, result] = [await sizes('vendor/driver', '1.0'), await sizes(name, tag)];
    return {
      down: source.manifest + source.config + source.layer + result.manifest,
      up: result.config + result.layer + 2 * result.manifest,
    };
  }

  /** The tar of the image's last layer. */
  async function lastTar(name: string, tag: string): Promise<Buffer> {
    const manifest = (await repository(name).getManifest({ tag })) as ImageManifest;
    const layer = manifest.layers.at(-1);
    const response = await fetch(`${registry.url}/v2/${name}/blobs/${layer?.digest}`);
    return gunzipSync(Buffer.from(await response.arrayBuffer()));
  }

  const before = [
    'GET vendor/driver/manifests/1.0',
    'GET DESTINATION/manifests/TAG',
    'POST DESTINATION/blobs/uploads/',
    'GET vendor/driver/blobs/DIGEST',
    'GET vendor/driver/blobs/DIGEST',
  ];
  /** What is attached to the source, of a registry that cannot list that. */
  const attachments = [
    'GET vendor/driver/manifests/DIGEST',
    'GET vendor/driver/referrers/DIGEST',
    'HEAD vendor/driver/manifests/DIGEST.att',
    'HEAD vendor/driver/manifests/DIGEST.sbom',
    'HEAD vendor/driver/manifests/DIGEST.sig',
  ];
  /** One of two uploads is opened before, to learn whether that is permitted. */
  const uploads = [
    'POST DESTINATION/blobs/uploads/',
    'PUT DESTINATION/blobs/uploads/UPLOAD',
    'PUT DESTINATION/blobs/uploads/UPLOAD',
  ];
  const after = [
    'PUT DESTINATION/manifests/DIGEST',
    'GET DESTINATION/manifests/DIGEST',
    'PUT DESTINATION/manifests/TAG',
  ];
  test('16 requests, and of the layer with the module one inflation', async () => {
    const { requests, inflated, ...bytes } = await sign(
      'vendor/driver:appended',
      '--mode',
      'append',
      '--file',
      '/lib/modules/6.1.0/extra/hello.ko',
    );
    const expected = [...before, ...attachments, ...uploads, ...after];
    expect(requests.toSorted()).toEqual(at(expected, 'vendor/driver', 'appended'));
    expect(requests.at(-1)).toBe('PUT vendor/driver/manifests/appended');
    const proved = await lastTar('vendor/driver', 'appended');
    expect(inflated).toBe(moduleTar.length + proved.length);
    expect(bytes).toEqual(await expectedBytes('vendor/driver', 'appended'));
  });

  test('one inflation more to rewrite the layer', async () => {
    const { requests, inflated, ...bytes } = await sign(
      'vendor/driver:rewritten',
      '--mode',
      'rewrite',
      '--file',
      '/lib/modules/6.1.0/extra/hello.ko',
    );
    const proved = await lastTar('vendor/driver', 'rewritten');
    expect(inflated).toBe(2 * moduleTar.length + proved.length);
    expect(requests).toHaveLength(16);
    expect(bytes).toEqual(await expectedBytes('vendor/driver', 'rewritten'));
  });

  test('two requests more for a large layer, which is sent while it is written', async () => {
    const { requests, up } = await signFrom('vendor/large', 'vendor/large:signed', ...named);
    expect(requests).toHaveLength(18);
    const place = 'vendor/large/blobs';
    const patched = requests.indexOf(`PATCH ${place}/uploads/UPLOAD`);
    // The digest is known once it is written.
    expect(requests.indexOf(`HEAD ${place}/DIGEST`)).toBeGreaterThan(patched);
    expect(requests.filter((line) => line.startsWith('PATCH'))).toHaveLength(1);
    const { manifest, config, layer } = await sizes('vendor/large', 'signed');
    expect(up).toBe(config + layer + 2 * manifest);
  });

  test('no upload of a large layer where the result may be there already', async () => {
    const { requests, up } = await signFrom('vendor/large', 'vendor/large:signed', ...named);
    expect(requests.filter((line) => !/^(?:GET|HEAD) /.test(line))).toEqual([]);
    expect(up).toBe(0);
  });

  test('no bytes to resolve a tag', async () => {
    proxy.reset();
    const run = await runProgram(['resolve', `${proxy.host}/vendor/driver:1.0`, '--plain-http']);
    expect(run).toMatchObject({ exitCode: 0, stderr: '' });
    expect(proxy.requests).toMatchObject([{ method: 'HEAD', bytesDown: 0, bytesUp: 0 }]);
  });

  test('one request more for each layer that another repository is lent', async () => {
    const {
      requests,
      inflated: _,
      ...bytes
    } = await sign('mine/driver:1.0', '--mode', 'append', '--file', '/lib/modules/6.1.0/extra/hello.ko');
    const mount = 'POST DESTINATION/blobs/uploads/?mount=DIGEST&from=vendor%2Fdriver';
    const expected = [...before, ...attachments, ...uploads, mount, mount, ...after];
    expect(requests.toSorted()).toEqual(at(expected, 'mine/driver', '1.0'));
    expect(bytes).toEqual(await expectedBytes('mine/driver', '1.0'));
  });

  test('no request that writes where the result is there already', async () => {
    const { requests, up } = await sign(
      'vendor/driver:appended',
      '--mode',
      'append',
      '--file',
      '/lib/modules/6.1.0/extra/hello.ko',
    );
    expect(requests.filter((line) => !/^(?:GET|HEAD) /.test(line))).toEqual([]);
    expect(up).toBe(0);
  });
});
