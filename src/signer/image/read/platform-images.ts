import { RegistryError } from '../../../registry/model/errors.ts';
import type { ImageConfig } from '../../../registry/image/config.ts';
import type { ContentsStore } from '../../../registry/layer/contents-memory.ts';
import type { ImageRepository } from '../../../registry/image/repository.ts';
import type { ImageManifest, Manifest } from '../../../registry/model/manifest.ts';
import {
  formatPlatform,
  matchesPlatform,
  normalizePlatform,
  type Platform,
} from '../../../registry/model/platform.ts';
import type { FilePattern } from '../../model/patterns.ts';
import type { ProgressListener } from '../../model/report.ts';
import type { Selector } from '../../../registry/model/reference.ts';
import { ManifestTree, type TreeNode } from './manifest-tree.ts';

/** An image: a repository and a tag or digest in it. */
export interface ImageLocation {
  readonly repository: ImageRepository;
  readonly selector: Selector;
}

/** An image below a manifest, and its platform. */
export interface PlatformImage {
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
  /** undefined if neither the index nor the configuration states it. */
  readonly platform: Platform | undefined;
}

/** One run over the images that a name refers to: the request, resolved once and passed on whole. */
export interface ReadingRun {
  readonly source: ImageLocation;
  /** null: every kernel module. */
  readonly patterns: readonly FilePattern[] | null;
  /** @default all */
  readonly platforms?: readonly Platform[] | undefined;
  readonly allowUnmatched: boolean;
  /** @default the system's directory for temporary files */
  readonly temporaryDirectory?: string | undefined;
  /** What layers contain, from earlier runs. @default every layer that counts is read */
  readonly layerContents?: ContentsStore | undefined;
  readonly onProgress?: ProgressListener | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The part of a run that determines which images are requested. */
type ImageChoice = Pick<ReadingRun, 'source' | 'platforms' | 'signal'>;

/** What has been found so far. */
interface Walk {
  readonly tree: ManifestTree;
  readonly images: PlatformImage[];
  readonly artifactTypes: string[];
}

/**
 * Returns every image of the requested platforms below a manifest, in index order, without artifacts that no
 * runtime can run. @throws RegistryError PLATFORM_NOT_FOUND; UNSUPPORTED_MEDIA_TYPE if there are only
 * artifacts
 */
export async function platformImages(manifest: Manifest, run: ImageChoice): Promise<PlatformImage[]> {
  const tree = new ManifestTree(run.source.repository, run.signal);
  const walk: Walk = { tree, images: [], artifactTypes: [] };
  await collect(await tree.top(manifest), 0, run, walk);
  const { images, artifactTypes } = walk;
  if (images.length === 0) refuseArtifacts(artifactTypes, run.source.repository);
  requirePlatforms(images, run);
  return images;
}

/**
 * Refuses a source that contains only artifacts. @throws RegistryError UNSUPPORTED_MEDIA_TYPE if there are
 * artifacts
 */
export function refuseArtifacts(artifactTypes: readonly string[], { name }: ImageRepository): void {
  const [first] = artifactTypes;
  if (first === undefined) return;
  const type = first.slice(0, 200);
  const what =
    artifactTypes.length === 1 ? `is an artifact (${type})` : `contains only artifacts (first ${type})`;
  throw new RegistryError({
    code: 'UNSUPPORTED_MEDIA_TYPE',
    message: `${name} ${what}, not a container image`,
    hint: 'Name the image itself. Charts, signatures, attestations and other artifacts contain no kernel modules.',
    facts: { repository: name, artifactType: type },
  });
}

/** Requires an image for every requested platform. @throws RegistryError PLATFORM_NOT_FOUND */
export function requirePlatforms(
  images: readonly Pick<PlatformImage, 'platform'>[],
  { platforms = [], source }: ImageChoice,
): void {
  const { name } = source.repository;
  const names = platforms
    .filter((requested) => !images.some(({ platform }) => isRequestedPlatform(platform, [requested])))
    .map(formatPlatform);
  if (names.length === 0) return;
  throw new RegistryError({
    code: 'PLATFORM_NOT_FOUND',
    message: `${name} has no image for ${names.join(', ')}`,
    hint: 'Omit --platform to select every platform.',
    facts: { repository: name, platforms: names },
  });
}

/** Returns whether a platform is one of those requested; undefined requests all. */
export function isRequestedPlatform(
  platform: Platform | undefined,
  requested: readonly Platform[] | undefined,
): boolean {
  return (
    requested === undefined ||
    (platform !== undefined && requested.some((one) => matchesPlatform(one, platform)))
  );
}

/**
 * Returns, for each image, whether an earlier one is for the same platform. Runtimes take the first, so the
 * content of later ones does not matter.
 */
export function findShadowed(images: readonly Pick<PlatformImage, 'platform'>[]): boolean[] {
  const taken = new Set<string>();
  return images.map(({ platform }) => {
    if (platform === undefined) return false;
    const name = formatPlatform(normalizePlatform(platform));
    const isShadowed = taken.has(name);
    taken.add(name);
    return isShadowed;
  });
}

async function collect(node: TreeNode, depth: number, run: ImageChoice, walk: Walk): Promise<void> {
  const { platforms } = run;
  if (node.kind === 'image') {
    const { manifest, classified } = node;
    if (classified.type === 'artifact') walk.artifactTypes.push(classified.artifactType);
    else if (isRequestedPlatform(classified.platform, platforms))
      walk.images.push({ manifest, ...classified });
  }
  if (node.kind !== 'index') return;
  const requested = node.manifest.manifests.filter(
    ({ platform }) => platform === undefined || isRequestedPlatform(platform, platforms),
  );
  for await (const { result } of walk.tree.children(requested, depth + 1, () => true)) {
    await collect(result, depth + 1, run, walk);
  }
}
