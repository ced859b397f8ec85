import { createCipheriv } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { digestOf } from '../../registry/model/digest.ts';
import type { ImageRepository } from '../../registry/image/repository.ts';
import type { Descriptor } from '../../registry/model/manifest.ts';
import { ociMediaTypes } from '../../registry/model/media-types.ts';

/** The path of the module in the demonstration's image. */
export const demoModulePath = '/lib/modules/6.1.0-56-amd64/extra/hello.ko';

interface File {
  readonly name: string;
  readonly content: Buffer;
}

/** Size of the file that stands in for the rest of a vendor's image, in bytes. */
const toolkitSize = 6_000_000;

/**
 * Pushes an image of three layers with a kernel module in the last, as a vendor might build it. The same
 * module always produces the same image. Returns its layers, base first.
 */
export async function pushVendorImage(
  repository: ImageRepository,
  tag: string,
  module: Buffer,
  signal: AbortSignal,
): Promise<readonly Descriptor[]> {
  const contents: readonly File[][] = [
    [{ name: 'usr/share/vendor/toolkit.bin', content: noise(toolkitSize) }],
    [{ name: 'etc/vendor/driver.conf', content: Buffer.from('whom=world\n') }],
    [{ name: demoModulePath.slice(1), content: module }],
  ];
  const tars = await Promise.all(contents.map(packFiles));
  const layers: Descriptor[] = [];
  for (const tar of tars)
    layers.push(await push(repository, ociMediaTypes.layerGzip, gzipSync(tar, { level: 1 }), signal));
  const config = await push(repository, ociMediaTypes.config, configuration(tars), signal);
  const bytes = json({ schemaVersion: 2, mediaType: ociMediaTypes.manifest, config, layers });
  await repository.putManifest(
    { mediaType: ociMediaTypes.manifest, digest: digestOf(bytes), bytes },
    { tag, signal },
  );
  return layers;
}

function packFiles(files: readonly File[]): Promise<Buffer> {
  const archive = pack();
  const mtime = new Date(0);
  for (const file of files) {
    for (const name of parentsOf(file.name)) archive.entry({ name, type: 'directory', mode: 0o755, mtime });
    archive.entry({ name: file.name, mode: 0o644, mtime }, file.content);
  }
  archive.finalize();
  return buffer(archive);
}

/** Returns the parents of a path, `a` and `a/b` for `a/b/c`: layers have entries for their directories. */
function parentsOf(name: string): string[] {
  const parts = name.split('/').slice(0, -1);
  return parts.map((_, at) => parts.slice(0, at + 1).join('/'));
}

function configuration(tars: readonly Buffer[]): Buffer {
  return json({
    architecture: 'amd64',
    os: 'linux',
    config: { Labels: { vendor: 'kmm-sign demo' } },
    rootfs: { type: 'layers', diff_ids: tars.map((tar) => digestOf(tar)) },
  });
}

async function push(
  repository: ImageRepository,
  mediaType: string,
  bytes: Buffer,
  signal: AbortSignal,
): Promise<Descriptor> {
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  await repository.putBlob(descriptor, () => Readable.from([bytes]), { signal });
  return descriptor;
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** Returns incompressible bytes, the same on every run: the key stream of a fixed key. */
function noise(size: number): Buffer {
  const key = Buffer.alloc(32, 'demo');
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
}
