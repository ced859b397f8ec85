import { digestAlgorithm, digestHex, type Digest } from '../model/digest.ts';
import { RegistryError } from '../model/errors.ts';
import type { ChildDescriptor } from '../model/manifest.ts';
import type { ImageRepository, OperationOptions } from './repository.ts';

/** The tag under which something about a manifest is stored: cosign's `sha256-….sig`, and `sha256-…` for referrers. */
export function tagForDigest(digest: Digest, ending = ''): string {
  return `${digestAlgorithm(digest)}-${digestHex(digest)}${ending}`;
}

/** What refers to a manifest, by the tag of registries without an API for it (distribution-spec, "Referrers Tag Schema"). */
export async function taggedReferrers(
  repository: ImageRepository,
  digest: Digest,
  options: OperationOptions,
): Promise<readonly ChildDescriptor[]> {
  try {
    const index = await repository.getManifest({ tag: tagForDigest(digest) }, options);
    return index.kind === 'index' && index.raw.digest !== digest ? index.manifests : [];
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'NOT_FOUND') return [];
    throw error;
  }
}
