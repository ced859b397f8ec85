import { RegistryError } from '../errors.ts';
import type { ImageIndex } from '../manifest.ts';
import { isIndexType } from '../media-types.ts';
import { formatPlatform, matchesPlatform, type Platform } from '../platform.ts';
import { isAttestation } from './attestation.ts';
import type { SelectedChild } from './repository.ts';

/**
 * Chooses the children of an index: those of the given platforms, or all but attestations. A child that is
 * an index again is always chosen, since only its own children know their platforms.
 * @throws RegistryError PLATFORM_NOT_FOUND
 */
export function selectChildren(index: ImageIndex, platforms?: readonly Platform[]): SelectedChild[] {
  const children = index.manifests
    .map((descriptor, at): SelectedChild => ({ descriptor, index: at }))
    .filter(({ descriptor }) => !isAttestation(descriptor));
  if (platforms === undefined) return children;
  const nested = children.filter(({ descriptor }) => isIndexType(descriptor.mediaType));
  const chosen = new Set(nested);
  for (const platform of platforms) {
    const matching = children.filter(
      ({ descriptor }) => descriptor.platform && matchesPlatform(platform, descriptor.platform),
    );
    if (matching.length === 0 && nested.length === 0) throw platformNotFound(platform, children, index);
    for (const child of matching) chosen.add(child);
  }
  return children.filter((child) => chosen.has(child));
}

function platformNotFound(
  platform: Platform,
  children: readonly SelectedChild[],
  index: ImageIndex,
): RegistryError {
  const present = children.flatMap(({ descriptor }) =>
    descriptor.platform ? [formatPlatform(descriptor.platform)] : [],
  );
  return new RegistryError({
    code: 'PLATFORM_NOT_FOUND',
    message: `The index ${index.raw.digest} holds no image for ${formatPlatform(platform)}`,
    hint: present.length === 0 ? 'It names no platforms.' : `It holds ${present.slice(0, 20).join(', ')}.`,
    facts: { digest: index.raw.digest, platform: formatPlatform(platform) },
  });
}
