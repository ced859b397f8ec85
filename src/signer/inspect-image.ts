import type { X509Certificate } from 'node:crypto';
import {
  type ImageLocation,
  findShadowed,
  platformImages,
  type PlatformImage,
} from './image/read/platform-images.ts';
import type { ContentsStore } from '../registry/layer/contents-memory.ts';
import type { Digest } from '../registry/model/digest.ts';
import { formatPlatform, type Platform } from '../registry/model/platform.ts';
import { requireMatches } from './image/read/selection.ts';
import { inspectPlatform, type InspectedImage, type InspectRun } from './image/read/inspect.ts';
import type { ModuleState } from './model/module.ts';
import { parseFilePattern } from './model/patterns.ts';
import type { InspectedPlatformReport, InspectReport, ProgressListener } from './model/report.ts';

export interface InspectImageOptions {
  readonly image: ImageLocation;
  /** Trusted certificates. @default none */
  readonly certificates?: readonly X509Certificate[] | undefined;
  /** Absolute paths or globs. @default every kernel module */
  readonly files?: readonly string[] | undefined;
  /** @default false */
  readonly allowUnmatched?: boolean | undefined;
  /** @default every platform */
  readonly platforms?: readonly Platform[] | undefined;
  /** Directory for temporary files. @default the system's directory for temporary files */
  readonly temporaryDirectory?: string | undefined;
  /** What layers contain, read by this process. @default every layer that counts is read */
  readonly layerContents?: ContentsStore | undefined;
  readonly onProgress?: ProgressListener | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Module states, from best to worst. */
const severity: readonly ModuleState[] = ['trusted', 'unsigned', 'untrusted', 'invalid', 'damaged'];

/**
 * Reports every kernel module that a container of the image would see, and the state of its signature.
 * @throws RegistryError, SignerError
 */
export async function inspectImage(options: InspectImageOptions): Promise<InspectReport> {
  const run = resolveRun(options);
  const { repository, selector } = run.source;
  const before = repository.traffic.bytesDown;
  const manifest = await repository.getManifest(selector, { signal: run.signal });
  run.onProgress?.({ type: 'resolved', image: repository.name, digest: manifest.raw.digest });
  const images = await platformImages(manifest, run);
  const inspected = await inspectAll(images, run);
  const shadowed = findShadowed(images);
  const visible = inspected.filter((_, index) => shadowed[index] !== true);
  requireMatches(
    visible.map(({ scan, modules }) => ({ files: modules, unmatched: scan.unmatched })),
    run,
  );
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

function resolveRun({ image, files, ...options }: InspectImageOptions): InspectRun {
  return Object.freeze({
    ...options,
    source: image,
    patterns: files === undefined ? null : files.map(parseFilePattern),
    allowUnmatched: options.allowUnmatched ?? false,
    certificates: options.certificates ?? [],
  });
}

/** Reads each image once, even if an index names it for several platforms. */
async function inspectAll(images: readonly PlatformImage[], run: InspectRun): Promise<InspectedImage[]> {
  const known = new Map<Digest, InspectedImage>();
  const inspected: InspectedImage[] = [];
  for (const image of images) {
    const { digest } = image.manifest.raw;
    const found = known.get(digest) ?? (await inspectPlatform(image, run));
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

export interface VerifyImageOptions extends InspectImageOptions {
  /** The trusted certificates; at least one. */
  readonly certificates: readonly X509Certificate[];
}

/**
 * Verifies every kernel module of an image against certificates. The verdict is in the report: `worst` is
 * `trusted` if every module is, and null if the image holds none.
 * @throws RegistryError, SignerError if the image cannot be read
 */
export function verifyImage(options: VerifyImageOptions): Promise<InspectReport> {
  if (options.certificates.length === 0) throw new TypeError('verifyImage needs at least one certificate');
  return inspectImage(options);
}
