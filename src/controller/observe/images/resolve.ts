import type { Digest } from '../../../registry/model/digest.ts';
import { RegistryError } from '../../../registry/model/errors.ts';
import { readImageConfig } from '../../../registry/image/config.ts';
import type { ImageRepository } from '../../../registry/image/repository.ts';
import type { Selector } from '../../../registry/model/reference.ts';
import type { Manifest } from '../../../registry/model/manifest.ts';
import { isImageConfigType } from '../../../registry/model/media-types.ts';
import { isUnknownPlatform, normalizePlatform } from '../../../registry/model/platform.ts';

/** What a tag or digest refers to. */
export interface ResolvedImage {
  readonly digest: Digest;
  /** GOARCH; undefined if the image does not say. */
  readonly architectures: readonly string[] | undefined;
}

/**
 * Queries a registry for an image; undefined if it says that there is none. With `known`, a HEAD request
 * checks whether the image is unchanged.
 * @throws RegistryError
 */
export async function resolveImage(
  repository: ImageRepository,
  selector: Selector,
  { known, signal }: { readonly known: ResolvedImage | undefined; readonly signal: AbortSignal },
): Promise<ResolvedImage | undefined> {
  try {
    if (known !== undefined) {
      const { digest } = await repository.resolve(selector, { signal });
      if (digest === known.digest) return known;
    }
    const manifest = await repository.getManifest(selector, { signal });
    return {
      digest: manifest.raw.digest,
      architectures: await architecturesOf(manifest, repository, signal),
    };
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

async function architecturesOf(
  manifest: Manifest,
  repository: ImageRepository,
  signal: AbortSignal,
): Promise<string[] | undefined> {
  if (manifest.kind === 'image') {
    if (!isImageConfigType(manifest.config.mediaType)) return undefined;
    const { platform } = await readImageConfig(repository, manifest, { signal });
    return platform === undefined ? undefined : [normalizePlatform(platform).architecture];
  }
  const architectures = manifest.manifests
    .filter(({ platform }) => platform === undefined || !isUnknownPlatform(platform))
    .map(({ platform }) => platform && normalizePlatform(platform).architecture);
  const stated = architectures.filter((architecture) => architecture !== undefined);
  return stated.length < architectures.length ? undefined : [...new Set(stated)];
}
