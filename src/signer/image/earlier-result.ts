import type { RegistryErrorCode } from '../../registry/errors.ts';
import { isAttestation } from '../../registry/image/attestation.ts';
import { labelsOf, readImageConfig } from '../../registry/image/config.ts';
import type { ImageRepository } from '../../registry/image/repository.ts';
import type { ImageManifest, Manifest } from '../../registry/manifest.ts';
import { KmmError } from '../../shared/errors.ts';
import type { SignerErrorCode } from '../errors.ts';
import type { HashAlgorithm } from '../hash.ts';
import type { FilePattern } from '../patterns.ts';
import type { SignMode } from '../report.ts';
import { stateSameFacts, type SigningFacts } from './annotations.ts';
import { inspectPlatform, type InspectedImage, type InspectOptions } from './inspect.ts';
import { platformImages } from './walk.ts';

export interface EarlierResultOptions extends Omit<InspectOptions, 'patterns'> {
  /** The destination. */
  readonly repository: ImageRepository;
  readonly tag: string;
  readonly sourceRepository: ImageRepository;
  readonly source: Manifest;
  readonly patterns: readonly FilePattern[] | null;
  readonly facts: Omit<SigningFacts, 'baseDigest'>;
  readonly hash: HashAlgorithm;
  readonly mode: SignMode;
  /** Believe what the annotations say. */
  readonly trustAnnotations: boolean;
}

/** A result of an earlier run that the destination's tag names. */
export interface EarlierResult {
  readonly manifest: Manifest;
  /** What was verified; nothing when the annotations were believed. */
  readonly images: readonly InspectedImage[];
}

/** What a destination may hold that is no result of ours, or no longer whole: it is written anew. */
const unusable: ReadonlySet<string> = new Set<RegistryErrorCode | SignerErrorCode>([
  'NOT_FOUND',
  'BLOB_NOT_FOUND',
  'DIGEST_MISMATCH',
  'INVALID_MANIFEST',
  'UNSUPPORTED_MEDIA_TYPE',
  'INVALID_LAYER',
  'LIMIT_EXCEEDED',
  'NOT_A_MODULE',
]);

/**
 * Tells whether the destination holds the result of signing this source in this way already: it says so,
 * it has the layers that it must have, and its modules carry our signature. null when not.
 */
export async function findEarlierResult(options: EarlierResultOptions): Promise<EarlierResult | null> {
  const { repository, tag, source, signal } = options;
  try {
    const manifest = await repository.getManifest({ tag }, { signal });
    if (manifest.raw.digest === source.raw.digest) return null;
    if (!(await isResultOf(source, manifest, options))) return null;
    const images = options.trustAnnotations ? [] : await inspectSigned(manifest, options);
    return images === null ? null : { manifest, images };
  } catch (error) {
    if (error instanceof KmmError && unusable.has(error.code)) return null;
    throw error;
  }
}

/** The images below a result that are not the source's own; null unless every module is signed as it must be. */
async function inspectSigned(
  result: Manifest,
  options: EarlierResultOptions,
): Promise<InspectedImage[] | null> {
  const { repository, source, sourceRepository, hash, signal } = options;
  const images: InspectedImage[] = [];
  const unchanged = await digestsBelow(source, { repository: sourceRepository, signal });
  for (const image of await platformImages(result, { repository, signal })) {
    if (unchanged.has(image.manifest.raw.digest)) continue;
    const inspected = await inspectPlatform(image, options);
    const { modules } = inspected;
    const isSigned = modules.every(({ state, signature }) => state === 'trusted' && signature?.hash === hash);
    if (modules.length === 0 || !isSigned) return null;
    images.push(inspected);
  }
  return images;
}

async function isResultOf(
  source: Manifest,
  result: Manifest,
  options: EarlierResultOptions,
): Promise<boolean> {
  if (source.kind === 'image') {
    return (
      result.kind === 'image' &&
      hasLayersOf(source, result, options.mode) &&
      (await saysSo(source, result, options))
    );
  }
  if (result.kind !== 'index') return false;
  if (
    source.family === 'oci' &&
    !stateSameFacts(result.annotations, { ...options.facts, baseDigest: source.raw.digest })
  ) {
    return false;
  }
  const before = source.manifests.filter((child) => !isAttestation(child));
  if (before.length !== result.manifests.length) return false;
  if (options.trustAnnotations && source.family === 'oci') return true;
  for (const [index, { digest }] of result.manifests.entries()) {
    const original = before[index];
    if (original === undefined) return false;
    if (original.digest === digest) continue;
    const [from, to] = await Promise.all([
      options.sourceRepository.getManifest({ digest: original.digest }, options),
      options.repository.getManifest({ digest }, options),
    ]);
    if (!(await isResultOf(from, to, options))) return false;
  }
  return true;
}

/** Rewriting keeps the number of layers, appending adds one on top of the very same. */
function hasLayersOf(source: ImageManifest, result: ImageManifest, mode: SignMode): boolean {
  if (mode === 'rewrite') return result.layers.length === source.layers.length;
  return (
    result.layers.length === source.layers.length + 1 &&
    source.layers.every(({ digest }, index) => result.layers[index]?.digest === digest)
  );
}

async function saysSo(
  source: ImageManifest,
  result: ImageManifest,
  options: EarlierResultOptions,
): Promise<boolean> {
  const facts = { ...options.facts, baseDigest: source.raw.digest };
  if (result.family === 'oci') return stateSameFacts(result.annotations, facts);
  return stateSameFacts(labelsOf(await readImageConfig(options.repository, result, options)), facts);
}

async function digestsBelow(
  manifest: Manifest,
  options: { repository: ImageRepository; signal?: AbortSignal | undefined },
): Promise<Set<string>> {
  if (manifest.kind === 'image') return new Set();
  const digests = new Set<string>();
  for (const { digest } of manifest.manifests) {
    digests.add(digest);
    const child = await options.repository.getManifest({ digest }, options);
    for (const below of await digestsBelow(child, options)) digests.add(below);
  }
  return digests;
}
