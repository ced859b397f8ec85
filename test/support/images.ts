import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { pack, type Header } from 'tar-stream';
import { digestOf, type Digest } from '../../src/registry/model/digest.ts';
import type { ImageRepository } from '../../src/registry/image/repository.ts';
import type { Descriptor, ManifestFamily, RawManifest } from '../../src/registry/model/manifest.ts';
import { dockerMediaTypes, layerMediaType, ociMediaTypes } from '../../src/registry/model/media-types.ts';

/** An entry of a test layer. The `name` of a directory ends in `/`. */
export interface TestEntry extends Partial<Omit<Header, 'name'>> {
  readonly name: string;
  readonly content?: Buffer | string;
}

export interface TestLayer {
  readonly entries?: readonly TestEntry[];
  /** A complete tar instead of entries. */
  readonly tar?: Buffer;
  /** @default 'gzip' */
  readonly compression?: 'gzip' | 'zstd' | 'none';
}

export interface TestImage {
  readonly layers: readonly TestLayer[];
  /** @default 'oci' */
  readonly family?: ManifestFamily;
  readonly platform?: { readonly os: string; readonly architecture: string };
  /** Additional fields of the configuration. */
  readonly config?: Record<string, unknown>;
  readonly annotations?: Record<string, string>;
}

const mtime = new Date('2024-05-06T07:08:09Z');

/** Packs entries into a tar archive. */
export async function makeTar(entries: readonly TestEntry[]): Promise<Buffer> {
  const archive = pack();
  for (const { content = '', ...header } of entries) {
    const isDirectory = header.name.endsWith('/');
    archive.entry(
      { mtime, mode: isDirectory ? 0o755 : 0o644, ...(isDirectory ? { type: 'directory' } : {}), ...header },
      header.type === undefined || header.type === 'file' ? content : '',
    );
  }
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Returns directory entries for all parents of a path, then the file. */
export function withParents(
  path: string,
  content: Buffer | string,
  header: Partial<Omit<Header, 'name'>> = {},
): TestEntry[] {
  const parts = path.split('/');
  const parents = parts.slice(0, -1).map((_, index) => ({ name: `${parts.slice(0, index + 1).join('/')}/` }));
  return [...parents, { name: path, content, ...header }];
}

function compress(tar: Buffer, compression: 'gzip' | 'zstd' | 'none'): Buffer {
  switch (compression) {
    case 'gzip':
      return gzipSync(tar);
    case 'zstd':
      return zstdCompressSync(tar);
    case 'none':
      return tar;
  }
}

/** Stores bytes as a blob. */
export async function storeBlob(
  repository: ImageRepository,
  mediaType: string,
  bytes: Buffer,
): Promise<Descriptor> {
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  await repository.putBlob(descriptor, () => Readable.from([bytes]));
  return descriptor;
}

/** Stores an image and returns its manifest. */
export async function storeImage(
  repository: ImageRepository,
  image: TestImage,
  tag?: string,
): Promise<RawManifest> {
  const { family = 'oci', platform = { os: 'linux', architecture: 'amd64' } } = image;
  const types = family === 'oci' ? ociMediaTypes : dockerMediaTypes;
  const layers: Descriptor[] = [];
  const diffIds: Digest[] = [];
  for (const { entries = [], tar, compression = 'gzip' } of image.layers) {
    const bytes = tar ?? (await makeTar(entries));
    diffIds.push(digestOf(bytes));
    layers.push(
      await storeBlob(repository, layerMediaType(family, compression), compress(bytes, compression)),
    );
  }
  const config = Buffer.from(
    JSON.stringify({
      ...platform,
      config: { Env: ['PATH=/usr/bin'], Labels: { vendor: 'example' } },
      rootfs: { type: 'layers', diff_ids: diffIds },
      history: diffIds.map((_, index) => ({ created_by: `step ${index}` })),
      'x-unknown': { kept: true },
      ...image.config,
    }),
  );
  const manifest = {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: await storeBlob(repository, types.config, config),
    layers,
    ...(image.annotations === undefined ? {} : { annotations: image.annotations }),
  };
  return storeManifest(repository, types.manifest, manifest, tag);
}

/** Stores a manifest or index given as JSON. */
export async function storeManifest(
  repository: ImageRepository,
  mediaType: string,
  json: Record<string, unknown>,
  tag?: string,
): Promise<RawManifest> {
  const bytes = Buffer.from(JSON.stringify(json));
  const raw = { mediaType, digest: digestOf(bytes), bytes };
  await repository.putManifest(raw, { tag });
  return raw;
}

/** The size of an empty list of referrers, in bytes. */
export const noReferrers = JSON.stringify({
  schemaVersion: 2,
  mediaType: ociMediaTypes.index,
  manifests: [],
}).length;

/** Adds sizes up. */
export function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total + size, 0);
}

/** Returns the sha256 in hexadecimal. */
export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
