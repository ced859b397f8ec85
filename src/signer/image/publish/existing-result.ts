import pLimit from 'p-limit';
import { RegistryError } from '../../../registry/model/errors.ts';
import { ManifestReader } from '../../../registry/image/manifest-reader.ts';
import type { ImageRepository } from '../../../registry/image/repository.ts';
import { mapAhead } from '../../../shared/parallel.ts';
import type { Descriptor, Manifest } from '../../../registry/model/manifest.ts';
import { isImageConfigType, isNonDistributableLayerType } from '../../../registry/model/media-types.ts';
import type { SigningRun } from '../plan/signing-run.ts';
import { renameBase, type BuiltNode } from './build.ts';
import { labelsOf, readImageConfig } from '../../../registry/image/config.ts';
import { claimedName } from './annotations.ts';

/** Where to look for a result. */
interface Place {
  readonly repository: ImageRepository;
  readonly signal: AbortSignal;
}

/** Concurrent requests. */
const concurrency = 4;

/**
 * Returns what was built if the destination's tag names exactly that and the destination has all of its
 * manifests and blobs; otherwise null. The source may have been referenced by another name. Downloads only
 * manifests and configurations.
 */
export async function findExistingResult(
  built: BuiltNode,
  { destination, signal }: SigningRun,
): Promise<BuiltNode | null> {
  const { repository, tag } = destination;
  if (tag === undefined) return null;
  const place = { repository, signal };
  try {
    const manifest = await repository.getManifest({ tag }, { signal });
    const { digest } = manifest.raw;
    const same =
      digest === built.raw.digest ? built : renameBase(built, await claimedBaseName(manifest, place));
    return digest === same.raw.digest && (await isComplete(manifest, place)) ? same : null;
  } catch (error) {
    if (error instanceof RegistryError && unusableCodes.has(error.code)) return null;
    throw error;
  }
}

/**
 * Error codes of a destination whose content is not our result, or no longer complete: it is written again.
 */
export const unusableCodes: ReadonlySet<string> = new Set([
  'NOT_FOUND',
  'BLOB_NOT_FOUND',
  'DIGEST_MISMATCH',
  'INVALID_MANIFEST',
  'UNSUPPORTED_MEDIA_TYPE',
  'LIMIT_EXCEEDED',
]);

async function isComplete(top: Manifest, { repository, signal }: Place): Promise<boolean> {
  const reader = new ManifestReader(repository);
  const blobs = new Map<string, Descriptor>();
  const waiting = [{ manifest: top, depth: 0 }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { manifest } = next;
    const depth = next.depth + 1;
    if (manifest.kind === 'index') {
      const read = (child: Descriptor, stop: AbortSignal) => reader.read(child, { depth, signal: stop });
      for await (const { result } of mapAhead(manifest.manifests, concurrency, read, signal)) {
        waiting.push({ manifest: result, depth });
      }
    } else {
      // Non-distributable layers need not be here; whether they can be read turns out when they are read.
      const here = manifest.layers.filter(({ mediaType }) => !isNonDistributableLayerType(mediaType));
      for (const blob of [manifest.config, ...here]) blobs.set(blob.digest, blob);
    }
  }
  const limit = pLimit(concurrency);
  const present = await limit.map([...blobs.values()], (blob) => repository.hasBlob(blob, { signal }));
  return present.every(Boolean);
}

/**
 * Returns the source's name that a signed image states, in annotations or labels; null if there is none. It
 * proves nothing without the digest beside it, which is compared. @throws RegistryError
 */
async function claimedBaseName(manifest: Manifest, { repository, signal }: Place): Promise<string | null> {
  const reader = new ManifestReader(repository);
  const waiting = [{ manifest, depth: 0 }];
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const { manifest: one, depth } = next;
    if (one.family === 'oci') {
      const name = claimedName(one.annotations);
      if (name !== null || depth === 0) return name;
    } else if (one.kind === 'index') {
      for (const child of one.manifests) {
        waiting.push({ manifest: await reader.read(child, { depth: depth + 1, signal }), depth: depth + 1 });
      }
    } else if (isImageConfigType(one.config.mediaType)) {
      const name = claimedName(labelsOf(await readImageConfig(repository, one, { signal })));
      if (name !== null) return name;
    }
  }
  return null;
}
