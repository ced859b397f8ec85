import { RegistryError } from '../../../registry/model/errors.ts';
import { describedByChild } from '../../../registry/image/classify.ts';
import { labelsOf, readImageConfig, type ImageConfig } from '../../../registry/image/config.ts';
import { ManifestReader } from '../../../registry/image/manifest-reader.ts';
import type { ImageRepository } from '../../../registry/image/repository.ts';
import { replaceChildren, type ChildReplacement } from '../../../registry/image/update-manifest.ts';
import type { ImageIndex, ImageManifest, Manifest } from '../../../registry/model/manifest.ts';
import type { SignMode } from '../../model/report.ts';
import {
  annotationKeys,
  nameIn,
  signingAnnotations,
  stateSameFacts,
  type SigningFacts,
} from './annotations.ts';
import { changedChild } from './build.ts';
import { unusable } from './held-result.ts';
import { commitLabel } from '../plan/ostree.ts';
import { replacedDescriptor, writeSignedImage } from './signed-manifest.ts';

export interface StatedResultOptions {
  /** The destination. */
  readonly repository: ImageRepository;
  readonly tag: string;
  readonly sourceRepository: ImageRepository;
  readonly source: Manifest;
  readonly facts: Omit<SigningFacts, 'baseDigest'>;
  readonly mode: SignMode;
  readonly sourceDateEpoch: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The manifest that a destination's tag names, when it is the one that signing the source writes, as far as can be
 * told without reading a layer: manifests and configurations are ours byte for byte, and layers are the source's or
 * stand in the place of one. What those layers hold is taken on trust. null when it is not.
 */
export async function findStatedResult(options: StatedResultOptions): Promise<Manifest | null> {
  const { repository, tag, source, sourceRepository, signal } = options;
  try {
    const manifest = await repository.getManifest({ tag }, { signal });
    if (manifest.raw.digest === source.raw.digest) return null;
    const readers = { from: new ManifestReader(sourceRepository), to: new ManifestReader(repository) };
    return (await isResultOf(source, manifest, { ...options, readers, depth: 0 })) ? manifest : null;
  } catch (error) {
    if (error instanceof RegistryError && unusable.has(error.code)) return null;
    throw error;
  }
}

interface Comparison extends StatedResultOptions {
  readonly readers: { readonly from: ManifestReader; readonly to: ManifestReader };
  readonly depth: number;
}

async function isResultOf(source: Manifest, result: Manifest, options: Comparison): Promise<boolean> {
  if (source.kind === 'image') return result.kind === 'image' && isSignedImage(source, result, options);
  return result.kind === 'index' && isSignedIndex(source, result, options);
}

async function isSignedIndex(source: ImageIndex, result: ImageIndex, options: Comparison): Promise<boolean> {
  const replacements = new Map<number, ChildReplacement>();
  const depth = options.depth + 1;
  let at = 0;
  for (const [index, child] of source.manifests.entries()) {
    const counterpart = result.manifests[at];
    if (counterpart?.digest === child.digest) {
      at += 1;
    } else if (describedByChild(child) !== undefined) {
      replacements.set(index, 'drop');
    } else {
      if (counterpart === undefined) return false;
      const [from, to] = await Promise.all([
        options.readers.from.read(child, { depth, signal: options.signal }),
        options.readers.to.read(counterpart, { depth, signal: options.signal }),
      ]);
      if (!(await isResultOf(from, to, { ...options, depth }))) return false;
      replacements.set(index, changedChild(child, to.raw));
      at += 1;
    }
  }
  const facts = { ...options.facts, baseDigest: source.raw.digest, baseName: nameIn(result.annotations) };
  // Docker's manifest lists state nothing.
  const annotations = signingAnnotations(facts, statedCount(result.annotations));
  return replaceChildren(source, replacements, annotations).bytes.equals(result.raw.bytes);
}

async function isSignedImage(
  manifest: ImageManifest,
  result: ImageManifest,
  options: Comparison,
): Promise<boolean> {
  const { repository, sourceRepository, signal, facts, mode, sourceDateEpoch } = options;
  const added = mode === 'append' ? 1 : 0;
  if (result.layers.length !== manifest.layers.length + added) return false;
  const written = await readImageConfig(repository, result, { signal });
  const stated = manifest.family === 'oci' ? result.annotations : labelsOf(written);
  if (!stateSameFacts(stated, { ...facts, baseDigest: manifest.raw.digest })) return false;
  const config = await readImageConfig(sourceRepository, manifest, { signal });
  const expected = writeSignedImage({
    source: { manifest, config },
    facts: { ...facts, baseName: nameIn(stated) },
    mode,
    sourceDateEpoch,
    modulesSigned: statedCount(stated),
    layers: expectedLayers(manifest, result, mode),
    diffIds: written.diffIds,
    linksBroken: hasCommit(config) && !hasCommit(written),
  });
  return expected.raw.bytes.equals(result.raw.bytes);
}

/** Layers as signing would name them, with the digests that the result has. */
function expectedLayers(source: ImageManifest, result: ImageManifest, mode: SignMode) {
  return result.layers.map((layer, index) => {
    const original = source.layers[index];
    if (original === undefined) return { mediaType: layer.mediaType, digest: layer.digest, size: layer.size };
    if (original.digest === layer.digest || mode === 'append') return original;
    const compression = layer.mediaType.endsWith('gzip')
      ? 'gzip'
      : layer.mediaType.endsWith('zstd')
        ? 'zstd'
        : 'none';
    return replacedDescriptor(
      original,
      { digest: layer.digest, size: layer.size, compression },
      source.family,
    );
  });
}

function hasCommit(config: ImageConfig): boolean {
  return labelsOf(config)[commitLabel] !== undefined;
}

function statedCount(stated: Readonly<Record<string, string>>): number {
  return Number(stated[annotationKeys.modules]);
}
