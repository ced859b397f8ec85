import pLimit from 'p-limit';
import { RegistryError } from '../../../registry/model/errors.ts';
import { ManifestReader } from '../../../registry/image/manifest-reader.ts';
import type { ImageRepository } from '../../../registry/image/repository.ts';
import type { Descriptor, Manifest } from '../../../registry/model/manifest.ts';
import { isImageConfigType, isNonDistributableLayerType } from '../../../registry/model/media-types.ts';
import { renameBase, type BuiltNode } from './build.ts';
import { labelsOf, readImageConfig } from '../../../registry/image/config.ts';
import { nameIn } from './annotations.ts';

/** Blobs that are asked for at once. */
const concurrency = 4;

export interface HeldOptions {
  readonly repository: ImageRepository;
  readonly tag: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * What was built, when a destination's tag names exactly that and the destination has every manifest and blob of it;
 * else null. The name by which the source was reached may be another one. Nothing is downloaded but manifests.
 */
export async function findHeld(built: BuiltNode, options: HeldOptions): Promise<BuiltNode | null> {
  const { repository, tag, signal } = options;
  try {
    const manifest = await repository.getManifest({ tag }, { signal });
    const { digest } = manifest.raw;
    const same =
      digest === built.raw.digest ? built : renameBase(built, await statedBaseName(manifest, options));
    return digest === same.raw.digest && (await isComplete(manifest, options)) ? same : null;
  } catch (error) {
    if (error instanceof RegistryError && unusable.has(error.code)) return null;
    throw error;
  }
}

/** What a destination may hold that is no result of ours, or no longer whole: it is written anew. */
export const unusable: ReadonlySet<string> = new Set([
  'NOT_FOUND',
  'BLOB_NOT_FOUND',
  'DIGEST_MISMATCH',
  'INVALID_MANIFEST',
  'UNSUPPORTED_MEDIA_TYPE',
  'LIMIT_EXCEEDED',
]);

async function isComplete(top: Manifest, { repository, signal }: HeldOptions): Promise<boolean> {
  const reader = new ManifestReader(repository);
  const blobs = new Map<string, Descriptor>();
  const waiting = [{ manifest: top, depth: 0 }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { manifest } = next;
    const depth = next.depth + 1;
    if (manifest.kind === 'index') {
      for (const child of manifest.manifests) {
        waiting.push({ manifest: await reader.read(child, { depth, signal }), depth });
      }
    } else {
      // What lies elsewhere need not be here; whether it can be had is found out where it is read.
      const here = manifest.layers.filter(({ mediaType }) => !isNonDistributableLayerType(mediaType));
      for (const blob of [manifest.config, ...here]) blobs.set(blob.digest, blob);
    }
  }
  const limit = pLimit(concurrency);
  const held = await limit.map([...blobs.values()], (blob) => repository.hasBlob(blob, { signal }));
  return held.every(Boolean);
}

/**
 * The name of its source that a signed image states, in annotations or labels; null when there is none. It is worth
 * nothing without the digest beside it, which is compared. @throws RegistryError
 */
async function statedBaseName(
  manifest: Manifest,
  options: { readonly repository: ImageRepository; readonly signal?: AbortSignal | undefined },
): Promise<string | null> {
  const { repository, signal } = options;
  const reader = new ManifestReader(repository);
  const waiting = [{ manifest, depth: 0 }];
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const { manifest: one, depth } = next;
    if (one.family === 'oci') {
      const name = nameIn(one.annotations);
      if (name !== null || depth === 0) return name;
    } else if (one.kind === 'index') {
      for (const child of one.manifests) {
        waiting.push({ manifest: await reader.read(child, { depth: depth + 1, signal }), depth: depth + 1 });
      }
    } else if (isImageConfigType(one.config.mediaType)) {
      const name = nameIn(labelsOf(await readImageConfig(repository, one, { signal })));
      if (name !== null) return name;
    }
  }
  return null;
}
