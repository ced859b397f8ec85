import type { ImageLocation } from './image/read/platform-images.ts';
import type { X509Certificate } from 'node:crypto';
import type { Digest } from '../registry/model/digest.ts';
import { formatPlatform, type Platform } from '../registry/model/platform.ts';
import { requireMatches } from './image/read/selection.ts';
import { inspectPlatform, type InspectedImage, type InspectOptions } from './image/read/inspect.ts';
import { findShadowed, platformImages, type PlatformImage } from './image/read/platform-images.ts';
import type { ModuleState } from './model/module.ts';
import { parseFilePattern } from './model/patterns.ts';
import type { InspectedPlatformReport, InspectReport, ProgressListener } from './model/report.ts';

export interface InspectImageOptions {
  readonly image: ImageLocation;
  /** Certificates that count as trusted. @default none */
  readonly certificates?: readonly X509Certificate[] | undefined;
  /** Absolute paths or globs. @default every kernel module */
  readonly files?: readonly string[] | undefined;
  /** @default false */
  readonly allowUnmatched?: boolean | undefined;
  /** @default every platform */
  readonly platforms?: readonly Platform[] | undefined;
  /** Where temporary files go. @default the system's directory for them */
  readonly temporaryDirectory?: string | undefined;
  readonly onProgress?: ProgressListener | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** From best to worst. */
const severity: readonly ModuleState[] = ['trusted', 'unsigned', 'untrusted', 'invalid', 'damaged'];

/**
 * Reports every kernel module that a container of the image would see, with its signature's state.
 * @throws RegistryError, SignerError
 */
export async function inspectImage(options: InspectImageOptions): Promise<InspectReport> {
  const { image, certificates = [], files, platforms, temporaryDirectory, onProgress, signal } = options;
  const { repository } = image;
  const before = repository.traffic.bytesDown;
  const patterns = files === undefined ? null : files.map(parseFilePattern);
  const manifest = await repository.getManifest(image.selector, { signal });
  onProgress?.({ type: 'resolved', image: repository.name, digest: manifest.raw.digest });
  const images = await platformImages(manifest, { repository, platforms, signal });
  const inspected = await inspectAll(images, {
    repository,
    certificates,
    patterns,
    temporaryDirectory,
    onProgress,
    signal,
  });
  const shadowed = findShadowed(images);
  if (options.allowUnmatched !== true) {
    requireMatches(
      patterns,
      inspected
        .filter((_, index) => shadowed[index] !== true)
        .map(({ scan, modules }) => ({ files: modules, unmatched: scan.unmatched })),
      repository.name,
    );
  }
  const reports = inspected.map(({ platform, digest, modules, layersNotRead }, index) => ({
    platform,
    digest,
    modules,
    shadowed: shadowed[index] === true,
    layersNotRead,
  }));
  return {
    image: repository.name,
    digest: manifest.raw.digest,
    platforms: reports,
    worst: worstState(reports),
    warnings: [...new Set(inspected.flatMap(({ warnings }) => warnings))],
    bytesDown: repository.traffic.bytesDown - before,
  };
}

/** Reads each image once, though an index may name it for several platforms. */
async function inspectAll(
  images: readonly PlatformImage[],
  options: InspectOptions,
): Promise<InspectedImage[]> {
  const known = new Map<Digest, InspectedImage>();
  const inspected: InspectedImage[] = [];
  for (const image of images) {
    const { digest } = image.manifest.raw;
    const found = known.get(digest) ?? (await inspectPlatform(image, options));
    known.set(digest, found);
    const platform = image.platform === undefined ? null : formatPlatform(image.platform);
    inspected.push({ ...found, platform });
  }
  return inspected;
}

function worstState(platforms: readonly InspectedPlatformReport[]): ModuleState | null {
  const states = platforms.flatMap(({ modules }) => modules.map(({ state }) => state));
  return states.reduce<ModuleState | null>(
    (worst, state) => (worst === null || severity.indexOf(state) > severity.indexOf(worst) ? state : worst),
    null,
  );
}
