import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ImageAccess } from '../../../../src/controller/observe/images/clients.ts';
import { ImageRegistry } from '../../../../src/controller/observe/images/image-registry.ts';
import type { Verdict } from '../../../../src/controller/observe/images/verdict.ts';
import type { Digest } from '../../../../src/registry/model/digest.ts';
import type { ImageRepository } from '../../../../src/registry/image/repository.ts';
import { ociMediaTypes } from '../../../../src/registry/model/media-types.ts';
import { extractModules } from '../../../../src/signer/extract-image.ts';
import { signImage } from '../../../../src/signer/sign-image.ts';
import { startFaultProxy, type FaultProxy } from '../../../support/fault-proxy.ts';
import { storeImage, storeManifest, withParents, type TestEntry } from '../../../support/images.ts';
import { createTestKey, useSigningBench, type TestKey } from '../../../support/signing.ts';

/** What modinfo says of fixtures/hello/hello.ko. */
const kernel = '6.1.0-56-amd64';
const vermagic = `${kernel} SMP preempt mod_unload modversions `;
const directory = `opt/lib/modules/${kernel}`;

const access: ImageAccess = { tls: { insecure: true }, pullSecrets: [] };
const bench = useSigningBench();
let stranger: TestKey;
let proxy: FaultProxy;
let images: ImageRegistry;
let checks: string[];
let repository: ImageRepository;
let image: string;
let count = 0;

beforeAll(async () => {
  stranger = await createTestKey(bench.folder, 'stranger');
  proxy = await startFaultProxy({ target: bench.registry.url });
});
afterAll(() => proxy.close());
beforeEach(() => {
  const name = `vendor/driver-${count++}`;
  repository = bench.repository(name);
  image = `${proxy.host}/${name}:1.0`;
  checks = [];
  images = new ImageRegistry({
    userAgent: 'tests',
    onCheck: (kind, _seconds, outcome) => checks.push(`${kind} ${outcome}`),
  });
  proxy.reset();
});
afterEach(() => images.close());

async function store(entries: readonly TestEntry[], architecture = 'amd64'): Promise<Digest> {
  const platform = { os: 'linux', architecture };
  return (await storeImage(repository, { layers: [{ entries }], platform })).digest;
}

/** Signs an image as our Jobs do, and gives the digest of the result. */
async function sign(digest: Digest, key: TestKey = bench.key, files?: string[]): Promise<Digest> {
  const report = await signImage({
    source: { repository, selector: { digest } },
    destination: { repository, tag: 'signed' },
    signer: key.signer,
    files,
  });
  if (report.digest === null) throw new Error('nothing was signed');
  return report.digest;
}

function modules(...paths: readonly string[]): TestEntry[] {
  return paths.flatMap((path) => withParents(path, bench.hello));
}

async function index(...children: readonly (readonly [string, Digest])[]): Promise<Digest> {
  const manifests = [];
  for (const [architecture, digest] of children) {
    const { raw } = await repository.getManifest({ digest });
    const platform = { os: 'linux', architecture };
    manifests.push({ mediaType: raw.mediaType, digest, size: raw.bytes.length, platform });
  }
  const json = { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests };
  return (await storeManifest(repository, ociMediaTypes.index, json)).digest;
}

function verify(
  digest: string,
  files: readonly string[] = [],
  keys: readonly TestKey[] = [bench.key],
): Promise<Verdict> {
  const certificates = keys.map(({ signer }) => signer.certificate);
  return images.verify({ image, digest, access, files, certificates });
}

describe('the modules of an image', () => {
  it('are signed if each has a signature of ours', async () => {
    const digest = await sign(await store(modules('m/a.ko', 'm/b.ko')));
    expect(await verify(digest)).toEqual({ state: 'signed', modules: 2 });
    expect(await verify(digest, ['/m/b.ko'])).toEqual({ state: 'signed', modules: 1 });
    expect(await verify(digest, [], [stranger, bench.key])).toEqual({ state: 'signed', modules: 2 });
  });

  it('of several images on one base are found without reading the base again', async () => {
    const base = Array.from({ length: 50 }, (_, number) => ({ name: `usr/lib/${number}`, content: 'base' }));
    const layers = (content: string) => [
      { entries: modules('m/a.ko', 'm/deleted.ko') },
      { entries: [...base, { name: 'm/.wh.deleted.ko' }] },
      { entries: [{ name: 'version', content }] },
    ];
    const digests: Digest[] = [];
    for (const version of ['1.0', '2.0'])
      digests.push(await sign((await storeImage(repository, { layers: layers(version) })).digest));
    const downloads: number[] = [];
    for (const digest of digests) {
      proxy.reset();
      expect(await verify(digest)).toEqual({ state: 'signed', modules: 1 });
      downloads.push(
        proxy.requests.filter(({ method, path }) => method === 'GET' && path.includes('/blobs/')).length,
      );
    }
    // The configuration and the layers; the second time without that of the base.
    expect(downloads).toEqual([4, 3]);
  });

  it('are not signed if one of them is unsigned, unless it was not requested', async () => {
    const digest = await sign(await store(modules('m/a.ko', 'm/b.ko', 'm/c.ko')), bench.key, ['/m/a.ko']);
    expect(await verify(digest)).toEqual({
      state: 'unsigned',
      problem: '/m/b.ko is not signed, and 1 more',
    });
    expect(await verify(digest, ['/m/a*'])).toEqual({ state: 'signed', modules: 1 });
    expect(await verify(digest, ['/m/[ab].ko'])).toEqual({
      state: 'unsigned',
      problem: '/m/b.ko is not signed',
    });
  });

  it('are not signed if another certificate signed them', async () => {
    const digest = await sign(await store(modules('m/a.ko')), stranger);
    expect(await verify(digest)).toMatchObject({
      state: 'untrusted',
      problem: expect.stringMatching(/^\/m\/a\.ko is signed with another certificate \(.*stranger/) as string,
    });
  });

  it('are not signed if a signature does not match or cannot be read', async () => {
    const signed = await sign(await store(modules('m/a.ko')));
    const extracted = join(bench.folder, 'extracted');
    await extractModules({
      image: { repository, selector: { digest: signed } },
      files: ['/m/a.ko'],
      directory: extracted,
    });
    const bytes = await readFile(join(extracted, 'm/a.ko'));
    const changed = Buffer.from(bytes);
    // A byte of the author's name in .modinfo.
    const at = changed.indexOf('The kmm-sign authors');
    changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
    expect(await verify(await store(withParents('m/a.ko', changed)))).toEqual({
      state: 'invalid',
      problem: '/m/a.ko has a signature that does not match its content',
    });
    expect(await verify(await store(withParents('m/a.ko', bench.hello.subarray(0, 500))))).toMatchObject({
      state: 'damaged',
      problem: expect.stringMatching(/^\/m\/a\.ko cannot be read: /) as string,
    });
  });

  it('are not signed if there are none, or none at a requested path', async () => {
    const empty = await store(withParents('etc/motd', 'hello'));
    expect(await verify(empty)).toEqual({
      state: 'no-modules',
      problem: 'The image has no kernel module',
    });
    const digest = await sign(await store(modules('m/a.ko')));
    expect(await verify(digest, ['/m/a.ko', '/m/z.ko'])).toEqual({
      state: 'no-modules',
      problem: 'The image does not have /m/z.ko',
    });
    expect(await verify(empty, ['/etc/motd'])).toMatchObject({ state: 'damaged' });
  });

  it('must be signed on every platform that has some', async () => {
    const signed = await sign(await store(modules('m/a.ko')));
    const unsigned = await store(modules('m/a.ko'), 'arm64');
    const without = await store(withParents('etc/motd', 'hello'), 's390x');
    expect(await verify(await index(['amd64', signed], ['s390x', without]))).toEqual({
      state: 'signed',
      modules: 1,
    });
    expect(await verify(await index(['amd64', signed], ['arm64', unsigned]))).toEqual({
      state: 'unsigned',
      problem: '/m/a.ko (linux/arm64) is not signed',
    });
  });

  it('are read once for concurrent callers, and not again for the same certificates and files', async () => {
    const digest = await sign(await store(modules('m/a.ko')));
    const signed = { state: 'signed', modules: 1 };
    proxy.reset();
    expect(await Promise.all([verify(digest), verify(digest), verify(digest)])).toEqual([
      signed,
      signed,
      signed,
    ]);
    const once = proxy.requests.length;
    expect(new Set(proxy.requests.map(({ path }) => path)).size).toBe(once);
    expect(await verify(digest)).toEqual(signed);
    expect(proxy.requests).toHaveLength(once);
    expect(checks).toEqual(['verify signed']);

    expect(await verify(digest, [], [stranger])).toMatchObject({ state: 'untrusted' });
    expect(await verify(digest, ['/m/a.ko'])).toEqual(signed);
    expect(checks).toEqual(['verify signed', 'verify untrusted', 'verify signed']);
  });

  it("are found by content: a text file with a module's name is not one", async () => {
    const digest = await sign(await store([...modules('m/a.ko'), { name: 'm/tutor.ko', content: '길잡이' }]));
    expect(await verify(digest)).toEqual({ state: 'signed', modules: 1 });
    expect(await verify(digest, ['/m/*.ko'])).toEqual({ state: 'signed', modules: 1 });
    expect(await verify(digest, ['/m/tutor.ko'])).toEqual({
      state: 'damaged',
      problem: '/m/tutor.ko is not a kernel module',
    });
  });

  it('yield an error if the registry fails or sends other bytes, and are read again', async () => {
    const digest = await sign(await store(modules('m/a.ko')));
    proxy.reset(({ path }) => (path.includes('/blobs/') ? { kind: 'status', status: 500 } : undefined));
    await expect(verify(digest)).rejects.toMatchObject({ code: 'UNEXPECTED_RESPONSE' });
    proxy.reset(({ path }) => (path.includes('/manifests/') ? { kind: 'changed-body' } : undefined));
    await expect(verify(digest)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    proxy.reset();
    expect(await verify(digest)).toEqual({ state: 'signed', modules: 1 });
    await expect(verify(digest.replace(/[0-9a-f]{64}$/, '0'.repeat(64)))).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await expect(verify('latest')).rejects.toMatchObject({ code: 'INVALID_REFERENCE' });
  });

  it('are no longer read when the last caller has left', async () => {
    const digest = await sign(await store(modules('m/a.ko')));
    const patience = new AbortController();
    const certificates = [bench.key.signer.certificate];
    const query = { image, digest, access, files: [], certificates, signal: patience.signal };
    proxy.reset(() => {
      patience.abort(new Error('gave up'));
      return undefined;
    });
    await expect(images.verify(query)).rejects.toThrow('gave up');
    expect(checks).toEqual([]);
    proxy.reset();
    expect(await verify(digest)).toEqual({ state: 'signed', modules: 1 });
  });
});

describe('a module is found', () => {
  const query = { dirName: '/opt', kernelRelease: kernel, moduleName: 'hello', architecture: 'amd64' };
  const find = (digest: string, changes: Partial<typeof query> = {}) =>
    images.findModule({ image, digest, access, ...query, ...changes });

  it.each([
    ['extra/hello.ko', 'hello'],
    ['hello.ko', 'hello'],
    ['updates/dkms/my-own_module.ko', 'my_own-module'],
  ])('as %s by the name %s', async (path, moduleName) => {
    const digest = await store(modules(`${directory}/${path}`));
    expect(await find(digest, { moduleName })).toEqual({
      found: true,
      path: `/${directory}/${path}`,
      vermagic,
      matchesKernel: true,
      state: 'unsigned',
      problem: 'The module is not signed',
    });
  });

  it('compressed, with the state of its signature', async () => {
    const digest = await sign(await store(withParents(`${directory}/hello.ko.gz`, gzipSync(bench.hello))));
    const certificates = [bench.key.signer.certificate];
    const found = { found: true, path: `/${directory}/hello.ko.gz`, matchesKernel: true };
    expect(await images.findModule({ image, digest, access, ...query, certificates })).toMatchObject({
      ...found,
      state: 'trusted',
    });
    expect(await find(digest)).toMatchObject({ ...found, state: 'untrusted' });
  });

  it('unsigned where overlayfs shows it, though an upper layer replaces it through a link', async () => {
    const certificates = [bench.key.signer.certificate];
    const unsigned = await store(modules(`${directory}/hello.ko`));
    const local = join(bench.folder, `extracted-${count}`);
    const digest = await sign(unsigned);
    const selector = { digest };
    const { files } = await extractModules({ image: { repository, selector }, directory: local });
    const signed = await readFile(files[0]?.target ?? '');
    const lower = [
      ...modules(`${directory}/hello.ko`),
      { name: 'o', type: 'symlink', linkname: 'opt' } as const,
    ];
    const upper = [{ name: `o/lib/modules/${kernel}/hello.ko`, content: signed }];
    const linked = await storeImage(repository, { layers: [{ entries: lower }, { entries: upper }] });
    const found = await images.findModule({ image, digest: linked.digest, access, ...query, certificates });
    expect(found).toMatchObject({ found: true, state: 'unsigned' });
  });

  it('in any dirName, in any notation', async () => {
    const digest = await store(modules(`lib/modules/${kernel}/hello.ko`));
    for (const dirName of ['/', '']) {
      expect(await find(digest, { dirName })).toMatchObject({ path: `/lib/modules/${kernel}/hello.ko` });
    }
    expect(await find(digest)).toEqual({
      found: false,
      problem: `The image has no hello.ko in /${directory}`,
    });
  });

  it('but does not match if it was built for another kernel', async () => {
    const digest = await store(modules('opt/lib/modules/6.1.0-56/hello.ko'));
    expect(await find(digest, { kernelRelease: '6.1.0-56' })).toMatchObject({
      found: true,
      vermagic,
      matchesKernel: false,
    });
  });

  it.each([
    ['another name', { moduleName: 'hell' }],
    ['a wildcard', { moduleName: '*' }],
    ['another kernel', { kernelRelease: '6.1.0-57-amd64' }],
    ['another architecture', { architecture: 'arm64' }],
  ])('not with %s', async (_title, changes) => {
    const digest = await store(modules(`${directory}/extra/hello.ko`));
    expect(await find(digest, changes)).toMatchObject({ found: false });
  });

  it('in the image of the architecture, read once', async () => {
    const amd64 = await store(modules(`${directory}/hello.ko`));
    const arm64 = await store(withParents('etc/motd', 'hello'), 'arm64');
    const digest = await index(['amd64', amd64], ['arm64', arm64]);
    expect(await Promise.all([find(digest), find(digest)])).toMatchObject([{ found: true }, { found: true }]);
    expect(await find(digest, { architecture: 'arm64' })).toMatchObject({ found: false });
    await find(digest);
    expect(checks).toEqual(['find-module found', 'find-module missing']);
  });
});
