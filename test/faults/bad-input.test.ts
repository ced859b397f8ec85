import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { constants, deflateRawSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RegistryClient } from '../../src/registry/image/client.ts';
import { LayoutRepository } from '../../src/registry/image/layout-repository.ts';
import type { Descriptor } from '../../src/registry/model/manifest.ts';
import { dockerMediaTypes, ociMediaTypes } from '../../src/registry/model/media-types.ts';
import { runProgram, type Finished } from '../cli/run-program.ts';
import { storeBlob, storeImage, storeManifest } from '../support/images.ts';
import { describeWith } from '../support/programs.ts';
import { startEmbedded, type TestRegistry } from '../support/registries.ts';
import { createTestKey, helloModule, type TestKey } from '../support/signing.ts';
import { endOfArchive, entryBlocks, headerBlock } from '../support/tar-blocks.ts';

// Images that are not what they should be, given to the program: each ends with its exit code, the tag that
// was there stays, and no temporary file is left.

const hello = await helloModule;
const good = entryBlocks({ name: 'm/good.ko' }, hello);
const driver = entryBlocks({ name: 'm/driver.ko' }, hello);
const tar = (...blocks: readonly Buffer[]): Buffer => Buffer.concat([...blocks, endOfArchive]);
const sound = tar(good, driver);

/** A gzip member that unpacks to more than a gibibyte of zeros. */
function moduleBomb(): Buffer {
  // After a full flush, what follows does not depend on what came before: pieces can be put together.
  const piece = deflateRawSync(Buffer.alloc(64 * 1024 * 1024), {
    level: 1,
    finishFlush: constants.Z_FULL_FLUSH,
  });
  const header = Buffer.from('1f8b0800000000000003', 'hex');
  const lastBlockAndTrailer = Buffer.from('03000000000000000000', 'hex');
  return Buffer.concat([header, ...Array.from({ length: 17 }, () => piece), lastBlockAndTrailer]);
}

let folder: string;
let registry: TestRegistry;
let client: RegistryClient;
let key: TestKey;
let before: string | null;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-bad-'));
  registry = await startEmbedded();
  key = await createTestKey(folder);
  client = new RegistryClient({ plainHttp: true, credentials: {} });
  const destination = client.repository({ registry: registry.host, repository: 'signed/driver' });
  await storeImage(destination, { layers: [{ entries: [{ name: 'x', content: 'earlier' }] }] }, '1.0');
  before = await digestInRegistry();
});

afterAll(async () => {
  await client.close();
  await registry.close();
  await rm(folder, { recursive: true, force: true });
});

async function digestInRegistry(): Promise<string | null> {
  const answer = await fetch(`${registry.url}/v2/signed/driver/manifests/1.0`, {
    headers: { accept: ociMediaTypes.manifest },
  });
  await answer.arrayBuffer();
  return answer.headers.get('docker-content-digest');
}

let count = 0;

interface Outcome extends Finished {
  readonly error: unknown;
  readonly left: readonly string[];
}

/** Signs what is in a layout; gives what the program said, and what it left. */
async function signFrom(layout: string, tag = '1.0', certificate = key.certificate): Promise<Outcome> {
  const temporary = await mkdtemp(join(folder, 'tmp-'));
  const result = await runProgram(
    [
      ['sign', `oci:${layout}:1.0`, `${registry.host}/signed/driver:${tag}`],
      ['--plain-http', '--format', 'json', '--quiet', '--key', key.key, '--cert', certificate],
    ].flat(),
    { env: { TMPDIR: temporary } },
  );
  const { error = null } = result.stderr === '' ? {} : (JSON.parse(result.stderr) as { error: unknown });
  return { ...result, error, left: await readdir(temporary) };
}

/** An image with one layer, in a layout of its own. */
async function layoutWith(layer: Buffer, mediaType: string = ociMediaTypes.layerGzip) {
  count += 1;
  const directory = join(folder, `layout-${count}`);
  const repository = new LayoutRepository(directory);
  const blob = await storeBlob(repository, mediaType, layer);
  const config = await storeBlob(
    repository,
    ociMediaTypes.config,
    Buffer.from(
      JSON.stringify({
        os: 'linux',
        architecture: 'amd64',
        rootfs: { type: 'layers', diff_ids: [blob.digest] },
      }),
    ),
  );
  const manifest = { schemaVersion: 2, mediaType: ociMediaTypes.manifest, config, layers: [blob] };
  await storeManifest(repository, ociMediaTypes.manifest, manifest, '1.0');
  return { directory, repository, blob, manifest };
}

const pathOf = (directory: string, { digest }: Descriptor): string =>
  join(directory, 'blobs', digest.replace(':', '/'));

/** What a run over the tag that was there came to. */
async function outcome(layout: string) {
  const { exitCode, stdout, error, left } = await signFrom(layout);
  return { exitCode, stdout, error, left, destination: await digestInRegistry() };
}

/** An error, and everything else as it was. */
const refused = (code: string, exitCode: number) => ({
  exitCode,
  stdout: '',
  error: expect.objectContaining({ code }),
  left: [],
  destination: before,
});

/** A layout whose image has another manifest, listed under some media type. */
async function layoutWithManifest(listedAs: string, fields: { mediaType?: string }): Promise<string> {
  const { directory, repository, manifest } = await layoutWith(sound);
  const { mediaType: _, ...rest } = manifest;
  const bytes = Buffer.from(JSON.stringify({ ...rest, ...fields }));
  const descriptor = await storeBlob(repository, listedAs, bytes);
  const annotations = { 'org.opencontainers.image.ref.name': '1.0' };
  const index = { schemaVersion: 2, manifests: [{ ...descriptor, annotations }] };
  await writeFile(join(directory, 'index.json'), JSON.stringify(index));
  return directory;
}

describe('a layer whose bytes are not the promised ones', () => {
  test('is refused when it is cut short', async () => {
    const { directory, blob } = await layoutWith(gzipSync(sound));
    await truncate(pathOf(directory, blob), blob.size - 10);
    expect(await outcome(directory)).toEqual(refused('DIGEST_MISMATCH', 12));
  });

  test('is refused when it has another digest', async () => {
    const { directory, blob } = await layoutWith(gzipSync(sound));
    await writeFile(
      pathOf(directory, blob),
      gzipSync(tar(good, driver), { level: 1 }).subarray(0, blob.size),
    );
    expect(await outcome(directory)).toEqual(refused('DIGEST_MISMATCH', 12));
  });

  test('is refused when it is not there', async () => {
    const { directory, blob } = await layoutWith(gzipSync(sound));
    await rm(pathOf(directory, blob));
    expect(await outcome(directory)).toEqual(refused('BLOB_NOT_FOUND', 12));
  });
});

describe('a layer', () => {
  test.each<[string, Buffer, string, number]>([
    ['whose gzip data ends too early', gzipSync(sound).subarray(0, -300), 'INVALID_LAYER', 12],
    ['that ends inside of a file', gzipSync(sound.subarray(0, 3000)), 'INVALID_LAYER', 12],
    ['of rubbish', Buffer.alloc(4096, 'rubbish'), 'INVALID_LAYER', 12],
    [
      'with a path out of the image',
      tar(good, entryBlocks({ name: '../../m/x.ko' }, hello)),
      'INVALID_LAYER',
      12,
    ],
    [
      'with a hard link out of the image',
      tar(good, headerBlock({ name: 'm/x.ko', type: '1', link: '../../etc/shadow' })),
      'INVALID_LAYER',
      12,
    ],
    ['with a file of eight exbibytes', tar(good, hugeEntry()), 'INVALID_LAYER', 12],
    ['whose only module comes after the end', tar(endOfArchive, driver), 'FILE_NOT_IN_IMAGE', 6],
    [
      'with a module that is a bomb',
      tar(good, entryBlocks({ name: 'm/b.ko.gz' }, moduleBomb())),
      'LIMIT_EXCEEDED',
      12,
    ],
    ['without modules', tar(entryBlocks({ name: 'm/readme' }, 'text')), 'FILE_NOT_IN_IMAGE', 6],
  ])('%s is refused', async (_, layer, code, exitCode) => {
    const { directory } = await layoutWith(layer, ociMediaTypes.layerTar);
    expect(await outcome(directory)).toEqual(refused(code, exitCode));
  });

  test('with a hard link into nowhere is refused', async () => {
    const link = headerBlock({ name: 'm/l.ko', type: '1', link: 'nowhere.ko' });
    const { directory } = await layoutWith(tar(link, driver), ociMediaTypes.layerTar);
    expect(await outcome(directory)).toEqual(refused('INVALID_LAYER', 12));
  });

  test('with a symbolic link that claims a size does not hide the module behind it', async () => {
    const link = headerBlock({ name: 'm/l', type: '2', link: 'x', size: driver.length });
    const { directory } = await layoutWith(tar(link, driver), ociMediaTypes.layerTar);
    const { exitCode, stdout, left } = await signFrom(directory, 'symbolic-link');
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      platforms: [{ modules: [{ path: '/m/driver.ko', action: 'signed' }] }],
    });
    expect(left).toEqual([]);
  });
});

function hugeEntry(): Buffer {
  return headerBlock({ name: 'm/huge.ko', size: Buffer.from('800000007fffffffffffffff', 'hex') });
}

describe('a manifest', () => {
  test('that is said to be an index is refused', async () => {
    expect(await outcome(await layoutWithManifest(ociMediaTypes.index, {}))).toEqual(
      refused('INVALID_MANIFEST', 12),
    );
  });

  test('that calls itself something else than the index does is refused', async () => {
    const fields = { mediaType: dockerMediaTypes.manifest };
    expect(await outcome(await layoutWithManifest(ociMediaTypes.manifest, fields))).toEqual(
      refused('INVALID_MANIFEST', 12),
    );
  });

  test('without a media type of its own is what its list says', async () => {
    const layout = await layoutWithManifest(ociMediaTypes.manifest, {});
    const { exitCode, left } = await signFrom(layout, 'no-media-type');
    expect([exitCode, left]).toEqual([0, []]);
  });
});

describeWith(['openssl'], 'a certificate that has expired', ({ openssl }) => {
  test('is a warning: kernels load what it signed', async () => {
    const cwd = await mkdtemp(join(folder, 'ca-'));
    const settings = [
      'database=index',
      'rand_serial=yes',
      'new_certs_dir=.',
      'default_md=sha256',
      'policy=p',
    ];
    const sections = ['[ca]', 'default_ca=d', '[d]', ...settings, '[p]', 'commonName=supplied', ''];
    await writeFile(join(cwd, 'ca.cnf'), sections.join('\n'));
    await writeFile(join(cwd, 'index'), '');
    const run = (...args: readonly string[]) => execFileSync(openssl, args, { cwd, stdio: 'ignore' });
    run('req', '-new', '-key', key.key, '-subj', '/CN=expired', '-out', 'request');
    const dates = ['-startdate', '20200101000000Z', '-enddate', '20200201000000Z'];
    const files = ['-keyfile', key.key, '-in', 'request', '-out', 'expired.pem'];
    run('ca', '-config', 'ca.cnf', '-selfsign', '-batch', '-notext', ...files, ...dates);
    const certificate = join(cwd, 'expired.pem');
    const { directory } = await layoutWith(sound, ociMediaTypes.layerTar);
    const { exitCode, stdout, left } = await signFrom(directory, 'expired', certificate);
    expect([exitCode, left]).toEqual([0, []]);
    expect(JSON.parse(stdout)).toMatchObject({
      status: 'signed',
      warnings: [expect.stringContaining('expired on 2020-02-01')],
    });
    const image = `${registry.host}/signed/driver:expired`;
    expect((await runProgram(['verify', image, '--plain-http', '--cert', certificate])).exitCode).toBe(0);
  });
});
