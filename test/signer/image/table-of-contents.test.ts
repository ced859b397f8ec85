import { execFile } from 'node:child_process';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { ContentsCache } from '../../../src/registry/layer/contents-cache.ts';
import { digestOf } from '../../../src/registry/model/digest.ts';
import { layerMediaType, ociMediaTypes } from '../../../src/registry/model/media-types.ts';
import type { Descriptor } from '../../../src/registry/model/manifest.ts';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { describeWith } from '../../support/programs.ts';
import {
  makeTar,
  signTag,
  storeBlob,
  storeManifest,
  useSigningBench,
  verifyImage,
  withParents,
  type ImageRepository,
} from '../../support/signed-images.ts';
import { writeLayout } from '../../support/tar-layout.ts';

const bench = useSigningBench();
const run = promisify(execFile);
/** Two blocks of zeros. */
const endOfArchive = 1024;

/** A layer with a table of contents of its own, which the manifest pins. */
interface TableLayer {
  readonly blob: Buffer;
  readonly tar: Buffer;
  readonly annotations: Readonly<Record<string, string>>;
}

/**
 * Packs a tar as eStargz: the table is its last file, and a gzip member without content says where it begins.
 * https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md
 */
async function packEstargz(files: Buffer, table: Buffer): Promise<TableLayer> {
  const first = files.subarray(0, -endOfArchive);
  const last = await makeTar([{ name: 'stargz.index.json', content: table }]);
  const packed = gzipSync(first);
  const offset = packed.length.toString(16).padStart(16, '0');
  const footer = Buffer.concat([
    Buffer.from('1f8b08040000000000ff1a0053471600', 'hex'),
    Buffer.from(`${offset}STARGZ`),
    Buffer.from('010000ffff0000000000000000', 'hex'),
  ]);
  return {
    blob: Buffer.concat([packed, gzipSync(last), footer]),
    tar: Buffer.concat([first, last]),
    annotations: { 'containerd.io/snapshot/stargz/toc.digest': digestOf(table) },
  };
}

/**
 * Packs a tar as zstd:chunked: table and footer are in frames that others skip.
 * https://github.com/containers/storage/blob/main/docs/containers-storage-zstd-chunked.md
 */
function packZstdChunked(tar: Buffer, table: Buffer): TableLayer {
  const [packed, packedTable] = [zstdCompressSync(tar), zstdCompressSync(table)];
  const position = [packed.length + 8, packedTable.length, table.length, 1];
  const footer = Buffer.alloc(64);
  for (const [index, value] of position.entries()) footer.writeBigUInt64LE(BigInt(value), index * 8);
  footer.write('GNUlInUx', 56);
  return {
    blob: Buffer.concat([packed, skippableFrame(packedTable), skippableFrame(footer)]),
    tar,
    annotations: {
      'io.github.containers.zstd-chunked.manifest-checksum': digestOf(packedTable),
      'io.github.containers.zstd-chunked.manifest-position': position.join(':'),
    },
  };
}

function skippableFrame(content: Buffer): Buffer {
  const head = Buffer.from('502a4d1800000000', 'hex');
  head.writeUInt32LE(content.length, 4);
  return Buffer.concat([head, content]);
}

/** A table with entries as both formats have them. */
function tableOf(files: Readonly<Record<string, Buffer>>): Buffer {
  const entries = Object.entries(files).map(([name, content]) => {
    const digest = digestOf(content);
    return { name, type: 'reg', size: content.length, mode: 0o644, offset: 0, digest, chunkDigest: digest };
  });
  return Buffer.from(JSON.stringify({ version: 1, entries }));
}

/** Stores an image of a plain layer and others with tables. */
async function store(
  repository: ImageRepository,
  compression: 'gzip' | 'zstd',
  lowest: Buffer,
  others: readonly TableLayer[],
): Promise<void> {
  const rootfs = {
    type: 'layers',
    diff_ids: [lowest, ...others.map(({ tar }) => tar)].map((tar) => digestOf(tar)),
  };
  const configuration = Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs }));
  const config = await storeBlob(repository, ociMediaTypes.config, configuration);
  const layers: Descriptor[] = [await storeBlob(repository, layerMediaType('oci', 'none'), lowest)];
  for (const { blob, annotations } of others) {
    const stored = await storeBlob(repository, layerMediaType('oci', compression), blob);
    layers.push({ ...stored, annotations });
  }
  const manifest = { schemaVersion: 2, mediaType: ociMediaTypes.manifest, config, layers };
  await storeManifest(repository, ociMediaTypes.manifest, manifest, '1.0');
}

const formats = [
  ['eStargz', 'gzip', packEstargz],
  ['zstd:chunked', 'zstd', packZstdChunked],
] as const;

describeWith(['gzip', 'umoci', 'zstd'], 'a layer whose table of contents is not that of its tar', (paths) => {
  it.each(formats)('is judged by the tar if it is %s', async (_format, compression, pack) => {
    const { source, destination } = bench.freshPair('table');
    await using work = await createTemporaryDirectory();
    const lowest = await makeTar([
      ...withParents('opt/m/a.ko', bench.hello),
      { name: 'opt/m/deleted.ko', content: bench.hello },
    ]);
    // Both tables have a module, which no tar has, and neither what theirs has.
    const table = tableOf({ 'opt/m/invented.ko': bench.hello });
    const hiding = await pack(await makeTar(withParents('opt/m/hidden.ko', bench.hello)), table);
    const deleting = await pack(await makeTar([{ name: 'opt/m/.wh.deleted.ko' }]), table);
    await store(source, compression, lowest, [hiding, deleting]);
    const seen = ['/opt/m/a.ko', '/opt/m/hidden.ko'];

    const tars = [lowest];
    for (const { blob } of [hiding, deleting]) {
      await writeFile(join(work.path, 'layer'), blob);
      const options = { encoding: 'buffer' } as const;
      const { stdout } = await run(paths[compression], ['-dc', join(work.path, 'layer')], options);
      tars.push(stdout);
    }
    expect(await unpack(paths.umoci, work.path, tars)).toEqual(seen);

    // The second time it is known what the last layer contains: that, too, was read from the tar.
    for (const known of [0, 1]) {
      await using layerContents = await ContentsCache.open({
        directory: join(work.path, 'kmm-sign/layers'),
        program: '1.0.0',
      });
      const { platforms } = await signTag(source, destination, bench.key.signer, { layerContents });
      expect(platforms[0]?.modules.map(({ path }) => path).toSorted()).toEqual(seen);
      expect(platforms[0]?.layersKnown).toHaveLength(known);
    }
    const image = { repository: destination, selector: { tag: '1.0' } };
    const certificates = [bench.key.signer.certificate];
    const { worst, platforms } = await verifyImage({ image, certificates });
    expect(worst).toBe('trusted');
    expect(platforms[0]?.modules.map(({ path }) => path).toSorted()).toEqual(seen);
  });
});

/** The files in /opt/m after umoci has unpacked an image of these layers. */
async function unpack(umoci: string, directory: string, tars: readonly Buffer[]): Promise<string[]> {
  const [layout, rootfs] = [join(directory, 'layout'), join(directory, 'rootfs')];
  await writeLayout(layout, tars);
  await run(umoci, ['raw', 'unpack', '--rootless', '--image', `${layout}:latest`, rootfs]);
  return (await readdir(join(rootfs, 'opt/m'))).toSorted().map((name) => `/opt/m/${name}`);
}
