import { RegistryError } from '../../registry/errors.ts';
import { isAttestation } from '../../registry/image/attestation.ts';
import { readImageConfig } from '../../registry/image/config.ts';
import type { ImageRepository } from '../../registry/image/repository.ts';
import type { ImageManifest, Manifest } from '../../registry/manifest.ts';
import { isImageConfigType } from '../../registry/media-types.ts';
import { formatPlatform, matchesPlatform, type Platform } from '../../registry/platform.ts';

/** An image below a manifest, with its platform. */
export interface PlatformImage {
  readonly manifest: ImageManifest;
  readonly platform: Platform | undefined;
}

export interface WalkOptions {
  readonly repository: ImageRepository;
  /** undefined: all. */
  readonly platforms?: readonly Platform[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Every image of the asked-for platforms below a manifest, in the order of its index; attestations and
 * artifacts are left out. @throws RegistryError PLATFORM_NOT_FOUND
 */
export async function platformImages(manifest: Manifest, options: WalkOptions): Promise<PlatformImage[]> {
  const images = await collect(manifest, undefined, options);
  requirePlatforms(images, options);
  return images;
}

/** Makes sure that there is an image for every platform that was asked for. @throws RegistryError PLATFORM_NOT_FOUND */
export function requirePlatforms(
  images: readonly Pick<PlatformImage, 'platform'>[],
  { platforms = [], repository: { name } }: WalkOptions,
): void {
  const names = platforms
    .filter((wanted) => !images.some(({ platform }) => isAskedFor(platform, [wanted])))
    .map(formatPlatform);
  if (names.length === 0) return;
  throw new RegistryError({
    code: 'PLATFORM_NOT_FOUND',
    message: `${name} has no image for ${names.join(', ')}`,
    hint: 'Leave --platform out for every platform that it has.',
    facts: { repository: name, platforms: names },
  });
}

/** Whether a platform is one of those asked for; undefined asks for all. */
export function isAskedFor(platform: Platform | undefined, asked: readonly Platform[] | undefined): boolean {
  return (
    asked === undefined ||
    (platform !== undefined && asked.some((wanted) => matchesPlatform(wanted, platform)))
  );
}

async function collect(
  manifest: Manifest,
  described: Platform | undefined,
  options: WalkOptions,
): Promise<PlatformImage[]> {
  const { repository, platforms, signal } = options;
  if (manifest.kind === 'image') {
    if (!isImageConfigType(manifest.config.mediaType)) return [];
    const platform = described ?? (await readImageConfig(repository, manifest, { signal })).platform;
    return isAskedFor(platform, platforms) ? [{ manifest, platform }] : [];
  }
  const images: PlatformImage[] = [];
  for (const child of manifest.manifests) {
    if (isAttestation(child) || (child.platform !== undefined && !isAskedFor(child.platform, platforms)))
      continue;
    const below = await repository.getManifest({ digest: child.digest }, { signal });
    images.push(...(await collect(below, child.platform, options)));
  }
  return images;
}
