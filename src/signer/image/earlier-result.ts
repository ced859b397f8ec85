import { RegistryError } from '../../registry/errors.ts';
import { isAttestation } from '../../registry/image/attestation.ts';
import { labelsOf, readImageConfig } from '../../registry/image/config.ts';
import type { ImageRepository } from '../../registry/image/repository.ts';
import type { ImageManifest, Manifest } from '../../registry/manifest.ts';
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

/**
 * Tells whether the destination holds the result of signing this source in this way already: it says so,
 * it has the layers that it must have, and its modules carry our signature. null when not.
 */
export async function findEarlierResult(options: EarlierResultOptions): Promise<EarlierResult | null> {
  const { repository, tag, source, sourceRepository, trustAnnotations, signal } = options;
  const manifest = await existing(repository, tag, signal);
  if (manifest === null || manifest.raw.digest === source.raw.digest) return null;
  if (!(await isResultOf(source, manifest, options))) return null;
  if (trustAnnotations) return { manifest, images: [] };
  const images: InspectedImage[] = [];
  const unchanged = await digestsBelow(source, { repository: sourceRepository, signal });
  for (const image of await platformImages(manifest, { repository, signal })) {
    if (unchanged.has(image.manifest.raw.digest)) continue;
    const inspected = await inspectPlatform(image, options);
    const { modules } = inspected;
    const isSigned = modules.every(
      ({ state, signature }) => state === 'trusted' && signature?.hash === options.hash,
    );
    if (modules.length === 0 || !isSigned) return null;
    images.push(inspected);
  }
  return { manifest, images };
}

async function existing(
  repository: ImageRepository,
  tag: string,
  signal?: AbortSignal,
): Promise<Manifest | null> {
  try {
    return await repository.getManifest({ tag }, { signal });
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
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
