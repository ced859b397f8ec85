import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ContentsCache } from '../../../src/registry/layer/contents-cache.ts';
import { ContentsRecorder } from '../../../src/registry/layer/layer-contents.ts';
import { Overlay } from '../../../src/registry/layer/overlay.ts';
import { defaultOverlayLimits } from '../../../src/registry/layer/step-budget.ts';
import { openRepository } from '../../../src/registry/open-repository.ts';
import { digestOf } from '../../../src/registry/model/digest.ts';
import type { ImageManifest } from '../../../src/registry/model/manifest.ts';
import type { ProgressEvent } from '../../../src/signer/model/report.ts';
import { KnownLayers } from '../../../src/signer/image/read/known-layers.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../src/shared/temporary.ts';
import { type FaultProxy, startFaultProxy } from '../../support/fault-proxy.ts';
import {
  type ImageRepository,
  signTag,
  type SignImageOptions,
  type SignReport,
  storeBlob,
  storeImage,
  storeManifest,
  type TestLayer,
  useSigningBench,
  withParents,
} from '../../support/signed-images.ts';
import { endOfArchive, entryBlocks } from '../../support/tar-blocks.ts';
import { anyStack, layerOf } from '../../support/tar-stacks.ts';

const bench = useSigningBench();
let proxy: FaultProxy;
let temporary: TemporaryDirectory;
let directory: string;
let source: ImageRepository;
let destination: ImageRepository;

beforeAll(async () => {
  proxy = await startFaultProxy({ target: bench.registry.url });
});
afterAll(() => proxy.close());

/** Opens a repository through the proxy. */
const open = (repository: string) => bench.client.repository({ registry: proxy.host, repository });

beforeEach(async () => {
  proxy.reset();
  temporary = await createTemporaryDirectory();
  directory = join(temporary.path, 'kmm-sign', 'layers');
  const { count } = bench.freshPair('known');
  source = open(`vendor/known-${count}`);
  destination = open(`signed/known-${count}`);
  return () => temporary[Symbol.asyncDispose]();
});

/** Signs the tag 1.0 to the tag 1.0, with the cache of this test unless another is given. */
async function sign(options: Partial<SignImageOptions> = {}): Promise<SignReport> {
  await using layerContents = await ContentsCache.open({ directory, program: '1.0.0' });
  return await signTag(source, destination, bench.key.signer, { layerContents, ...options });
}

/** Paths of the blobs that were downloaded from the source, and of those that it was asked for. */
const asked = (method: string) =>
  proxy.requests
    .filter((one) => one.method === method && /\/vendor\/[^/]+\/blobs\//.test(one.path))
    .map(({ path }) => path.slice(path.indexOf('sha256:')))
    .toSorted();

async function manifestOf(repository: ImageRepository): Promise<ImageManifest> {
  const manifest = await repository.getManifest({ tag: '1.0' });
  if (manifest.kind !== 'image') throw new Error('this is not an image');
  return manifest;
}

/** The digests of the configuration and of some layers. */
async function blobsOf(...layers: readonly number[]): Promise<string[]> {
  const manifest = await manifestOf(source);
  return [manifest.config, ...layers.map((layer) => manifest.layers[layer])]
    .map((descriptor) => descriptor?.digest ?? '')
    .toSorted();
}

/** A stack as vendors build it: modules between other layers, one of which hides something. */
function vendorLayers(tag: string): TestLayer[] {
  return [
    { entries: [...withParents('usr/share/doc/base', 'base'), ...withParents('opt/old.ko', 'x')] },
    { entries: withParents('opt/m/a.ko', Buffer.concat([bench.hello])) },
    { entries: [...withParents('usr/lib/tool', 'tool'), { name: 'opt/.wh.old.ko' }], compression: 'zstd' },
    {
      entries: [
        { name: 'opt/', mode: 0o711, uid: 7 },
        { name: 'opt/m/', mode: 0o750, gid: 8 },
      ],
    },
    { entries: withParents(`etc/${tag}`, tag), compression: 'none' },
  ];
}

describe('a second image on a base that is known', () => {
  it.each(['rewrite', 'append'] as const)(
    'has only the layers downloaded that hold modules (%s)',
    async (mode) => {
      await storeImage(source, { layers: vendorLayers('first') }, '1.0');
      await sign({ mode });
      await storeImage(source, { layers: vendorLayers('second') }, '1.0');
      proxy.reset();
      const report = await sign({ mode });
      // Those with a module, whatever hides it, and the one that is new.
      expect(asked('GET')).toEqual(await blobsOf(0, 1, 4));
      const { layers, config } = await manifestOf(source);
      expect(asked('HEAD')).toEqual((await blobsOf(2, 3)).filter((digest) => digest !== config.digest));
      expect(report.platforms[0]).toMatchObject({
        layersRead: 3,
        layersKnown: [layers[3]?.digest, layers[2]?.digest],
        layersNotRead: [],
      });
      const { digest } = report;
      await rm(directory, { recursive: true });
      destination = open(`signed/cold-${mode}`);
      expect((await sign({ mode, layerContents: undefined })).digest).toBe(digest);
    },
  );

  it('has only the layer of the requested file downloaded', async () => {
    await storeImage(source, { layers: vendorLayers('only') }, '1.0');
    const files = ['/opt/m/a.ko'];
    await sign({ files });
    proxy.reset();
    await sign({ files, existing: 'replace', mode: 'append' });
    expect(asked('GET')).toEqual(await blobsOf(1));
  });

  it('is known to a signing of all files from a signing of one', async () => {
    await storeImage(source, { layers: vendorLayers('one') }, '1.0');
    await sign({ files: ['/opt/m/a.ko'] });
    proxy.reset();
    await sign();
    expect(asked('GET')).toEqual(await blobsOf(0, 1));
  });

  it('is read when a file of a known layer turns out to be a module, by a link or a list', async () => {
    const layers = [
      { entries: [...withParents('opt/driver', bench.hello), ...withParents('srv/listed', bench.hello)] },
      { entries: withParents('srv/x', 'x') },
    ];
    await storeImage(source, { layers }, '1.0');
    await sign({ allowUnmatched: true });
    const links = [
      { name: 'opt/a.ko', type: 'symlink' as const, linkname: 'driver' },
      ...withParents('lib/modules/6.1/modules.dep', '/srv/listed:\n'),
    ];
    await storeImage(source, { layers: [...layers, { entries: links }] }, '1.0');
    for (const mode of ['rewrite', 'append'] as const) {
      destination = open(`signed/links-${mode}`);
      proxy.reset();
      const report = await sign({ mode });
      expect(asked('GET')).toEqual(await blobsOf(0, 2));
      expect(report.platforms[0]?.modules.map(({ path }) => path)).toEqual(['/opt/a.ko', '/srv/listed']);
      expect(report.platforms[0]).toMatchObject({ layersRead: 2 });
      const { digest } = report;
      expect((await sign({ mode, layerContents: undefined })).digest).toBe(digest);
    }
  });
});

/** Gives what is called c the name of a module. */
const named = (path: string) => path.replaceAll(/(?<=^|\/|\.wh\.)c(?=$)/g, 'c.ko');

/** A layer of the short form, whose files of the name c are modules. */
function moduleLayer(stack: readonly string[]): TestLayer {
  const types: Readonly<Record<string, string>> = { directory: '5', symlink: '2', hardlink: '1' };
  const blocks = layerOf(stack).map(({ path, type, linkName }) => {
    const fields = { name: named(path), type: types[type] ?? '0', link: named(linkName), mode: 0o755 };
    return entryBlocks(fields, type === 'file' ? (path.endsWith('c') ? bench.hello : 'text') : '');
  });
  return { tar: Buffer.concat([...blocks, endOfArchive]), compression: 'gzip' };
}

describe('a signing with known layers', () => {
  it.each([
    ['rewrite', undefined],
    ['append', undefined],
    ['rewrite', ['/a/c.ko', '/b/c.ko']],
    ['append', ['/c.ko']],
    ['rewrite', ['/**/c.ko']],
  ] as const)('has the result that it has without, of generated layers (%s, %j)', async (mode, files) => {
    let known = 0;
    let count = 0;
    const onProgress = (event: ProgressEvent) => {
      if (event.type === 'layer-read' && event.known) known += 1;
    };
    await fc.assert(
      fc.asyncProperty(anyStack, async (stack) => {
        await storeImage(source, { layers: stack.map(moduleLayer) }, '1.0');
        const outcomes: unknown[] = [];
        for (const cached of [false, true, true]) {
          count += 1;
          const tag = `${mode}-${files?.length ?? 0}-${count}`;
          const options = {
            mode,
            files,
            allowUnmatched: true,
            onProgress,
            destination: { repository: source, tag },
          };
          outcomes.push(
            await sign({ ...options, ...(cached ? {} : { layerContents: undefined }) }).then(
              ({ digest, platforms }) => ({ digest, modules: platforms.map(({ modules }) => modules) }),
              (error: unknown) => JSON.parse(JSON.stringify(error)) as unknown,
            ),
          );
        }
        expect(outcomes[1]).toEqual(outcomes[0]);
        expect(outcomes[2]).toEqual(outcomes[0]);
      }),
      { numRuns: 10 },
    );
    expect(known).toBeGreaterThan(5);
  });
});

/** What signing says: that it was done, or its error. */
const error = (options: Partial<SignImageOptions> = {}) =>
  sign(options).then(
    () => 'signed',
    (failure: unknown) => JSON.parse(JSON.stringify(failure)) as unknown,
  );

/** Changes a byte of each record. */
const damage = async () => {
  for (const name of await readdir(directory)) {
    const bytes = await readFile(join(directory, name));
    bytes[40] = (bytes[40] ?? 0) ^ 0xff;
    await writeFile(join(directory, name), bytes);
  }
};

/** Stores an image with a changed manifest or configuration, and returns what signing says with and without. */
async function verdicts(
  change: (
    manifest: { layers: Record<string, unknown>[] },
    config: { rootfs: { diff_ids: string[] } },
  ) => void,
): Promise<readonly [known: unknown, read: unknown]> {
  // Registries look at what a manifest says of its blobs.
  source = await openRepository({ kind: 'layout', directory: join(temporary.path, 'layout') });
  const raw = await storeImage(source, { layers: vendorLayers('changed') }, '1.0');
  await sign();
  const manifest = JSON.parse(raw.bytes.toString()) as {
    config: { digest: string; mediaType: string };
    layers: Record<string, unknown>[];
  };
  const text = await (await source.openBlob(await manifestOf(source).then(({ config }) => config))).toArray();
  const config = JSON.parse(Buffer.concat(text as Buffer[]).toString()) as {
    rootfs: { diff_ids: string[] };
  };
  change(manifest, config);
  const stored = await storeBlob(source, manifest.config.mediaType, Buffer.from(JSON.stringify(config)));
  await storeManifest(source, raw.mediaType, { ...manifest, config: stored }, '1.0');
  return [await error(), await error({ layerContents: undefined })];
}

describe('a layer that is known is not taken for what it is not', () => {
  it('with another diff ID', async () => {
    const [known, read] = await verdicts((_manifest, { rootfs }) => {
      rootfs.diff_ids[2] = digestOf('another tar');
    });
    expect(known).toMatchObject({ code: 'INVALID_LAYER' });
    expect(known).toEqual(read);
  });

  it('with another size', async () => {
    const [known, read] = await verdicts(({ layers }) => {
      layers[2] = { ...layers[2], size: 9 };
    });
    expect(known).toMatchObject({ code: expect.stringMatching(/DIGEST_MISMATCH|INVALID/) });
    expect(known).toEqual(read);
  });

  it('under another media type: what counts are the bytes', async () => {
    const [known, read] = await verdicts(({ layers }) => {
      layers[2] = { ...layers[2], mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' };
    });
    expect(known).toBe('signed');
    expect(read).toBe('signed');
  });

  it('if the repository does not have it', async () => {
    await storeImage(source, { layers: vendorLayers('elsewhere') }, '1.0');
    await sign();
    const { layers } = await manifestOf(source);
    proxy.reset(({ path }) =>
      path.includes(`/vendor/`) && path.endsWith(layers[2]?.digest ?? '-')
        ? { kind: 'status', status: 404 }
        : undefined,
    );
    expect(await error()).toMatchObject({ code: 'BLOB_NOT_FOUND' });
    expect(await error({ destination: { repository: source, tag: 'signed' } })).toMatchObject({
      code: 'BLOB_NOT_FOUND',
    });
  });

  it('if the registry cannot say whether it has it: then it is downloaded', async () => {
    await storeImage(source, { layers: vendorLayers('silent') }, '1.0');
    await sign();
    proxy.reset(({ method, path }) =>
      method === 'HEAD' && path.includes('/vendor/') ? { kind: 'status', status: 405 } : undefined,
    );
    expect((await sign({ mode: 'append' })).status).toBe('signed');
    expect(asked('GET')).toEqual(await blobsOf(0, 1, 2, 3, 4));
  });

  it('if its record is damaged: then it is downloaded, and recorded again', async () => {
    await storeImage(source, { layers: vendorLayers('damaged') }, '1.0');
    await sign();
    await damage();
    const again = { destination: { repository: destination, tag: 'again' } };
    expect((await sign(again)).platforms[0]).toMatchObject({ layersRead: 5, layersKnown: [] });
    expect((await sign(again)).platforms[0]).toMatchObject({ layersRead: 2 });
  });

  it('if it was not what its digest says', async () => {
    await storeImage(source, { layers: vendorLayers('forged') }, '1.0');
    const { layers } = await manifestOf(source);
    proxy.reset(({ method, path }) =>
      method === 'GET' && path.endsWith(layers[3]?.digest ?? '-') ? { kind: 'changed-body' } : undefined,
    );
    expect(await error()).toMatchObject({ code: 'DIGEST_MISMATCH' });
    proxy.reset();
    await sign();
    expect(asked('GET')).toContain(layers[3]?.digest);
  });

  it('for nothing: its entries count against the limits of an image', async () => {
    const descriptor = { mediaType: 'x', digest: digestOf('blob'), size: 4 };
    const diffId = digestOf('tar');
    {
      await using cache = await ContentsCache.open({ directory, program: '1.0.0' });
      const recorder = new ContentsRecorder();
      for (const path of ['a', 'b', 'c']) recorder.add({ path, type: 'symlink', linkName: 'target' });
      cache?.store({ ...descriptor, diffId }, recorder);
    }
    await using cache = await ContentsCache.open({ directory, program: '1.0.0' });
    if (cache === undefined) throw new Error('there is no cache');
    const known = new KnownLayers(cache, { hasBlob: () => Promise.resolve(true) });
    const replay = (limits: Partial<typeof defaultOverlayLimits>) => {
      const overlay = new Overlay({ layers: 1, limits: { ...defaultOverlayLimits, ...limits } });
      const visitor = { accepts: () => false, visitFile: () => Promise.resolve() };
      const { signal } = new AbortController();
      return known.replay({ descriptor, diffId }, { visitor, list: overlay.list(0), signal });
    };
    expect(await replay({})).toBe(true);
    const exceeded = expect.objectContaining({ code: 'LIMIT_EXCEEDED' });
    for (const limits of [
      { maxEntries: 2 },
      { maxLinkCharacters: 17 },
      { maxPaths: 3 },
      { maxNameCharacters: 2 },
    ])
      await expect(replay(limits)).rejects.toEqual(exceeded);
  });
});
