import type { X509Certificate } from 'node:crypto';
import type { ImageRepository, Selector } from '../registry/image/repository.ts';
import type { Platform } from '../registry/platform.ts';
import { requireMatches } from './image/matches.ts';
import { inspectPlatform } from './image/inspect.ts';
import { platformImages } from './image/walk.ts';
import type { ModuleState } from './kmod/module.ts';
import { parseFilePattern } from './patterns.ts';
import type { InspectedPlatformReport, InspectReport, ProgressListener } from './report.ts';

/** An image: a place and a name in it. */
export interface ImageLocation {
  readonly repository: ImageRepository;
  readonly selector: Selector;
}

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
  const inspected = [];
  for (const platformImage of await platformImages(manifest, { repository, platforms, signal })) {
    inspected.push(
      await inspectPlatform(platformImage, {
        repository,
        certificates,
        patterns,
        temporaryDirectory,
        onProgress,
        signal,
      }),
    );
  }
  if (options.allowUnmatched !== true) {
    requireMatches(
      patterns,
      inspected.map(({ scan }) => scan),
      repository.name,
    );
  }
  const reports = inspected.map(({ platform, digest, modules }) => ({ platform, digest, modules }));
  return {
    image: repository.name,
    digest: manifest.raw.digest,
    platforms: reports,
    worst: worstState(reports),
    bytesDown: repository.traffic.bytesDown - before,
  };
}

function worstState(platforms: readonly InspectedPlatformReport[]): ModuleState | null {
  const states = platforms.flatMap(({ modules }) => modules.map(({ state }) => state));
  return states.reduce<ModuleState | null>(
    (worst, state) => (worst === null || severity.indexOf(state) > severity.indexOf(worst) ? state : worst),
    null,
  );
}
