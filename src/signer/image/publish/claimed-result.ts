import { RegistryError } from '../../../registry/model/errors.ts';
import { describedByChild } from '../../../registry/image/classify.ts';
import { labelsOf, readImageConfig, type ImageConfig } from '../../../registry/image/config.ts';
import { ManifestReader } from '../../../registry/image/manifest-reader.ts';
import { replaceChildren, type ChildReplacement } from '../../../registry/image/update-manifest.ts';
import type {
  ChildDescriptor,
  ImageIndex,
  ImageManifest,
  Manifest,
} from '../../../registry/model/manifest.ts';
import { mapAhead } from '../../../shared/parallel.ts';
import type { SignMode } from '../../model/report.ts';
import {
  annotationKeys,
  claimsMatch,
  claimsOf,
  claimedName,
  signingAnnotations,
  type SigningClaims,
} from './annotations.ts';
import type { SigningRun } from '../plan/signing-run.ts';
import { changedChild } from './build.ts';
import { unusableCodes } from './existing-result.ts';
import { commitLabel } from '../plan/ostree.ts';
import { replacedDescriptor, writeSignedImage } from './signed-manifest.ts';

/** Children that are compared at a time. */
const concurrency = 4;

/** A child of the source's index, and the one of the destination that may be its result. */
interface ChildPair {
  /** The child's position in the source. */
  readonly index: number;
  readonly child: ChildDescriptor;
  readonly counterpart: ChildDescriptor;
}

/** A comparison of a destination's manifests with what a run would write. */
interface Comparison {
  readonly run: SigningRun;
  readonly claims: SigningClaims;
  readonly readers: { readonly from: ManifestReader; readonly to: ManifestReader };
}

/** What the destination's tag names before a run. */
export interface ClaimedResult {
  /** The manifest, if it is one that signing the source would write; null otherwise. */
  readonly claimed: Manifest | null;
  /** Whether it names nothing, or there is none. */
  readonly isFree: boolean;
}

/**
 * Finds out whether the destination's tag names what signing the source would write, as far as can be determined
 * without reading a layer: manifests and configurations must match ours byte for byte, and each layer must be one of the
 * source's or replace one. The contents of those layers are trusted.
 */
export async function findClaimedResult(run: SigningRun): Promise<ClaimedResult> {
  const { source, sourceManifest, taggedManifest, destination } = run;
  const { repository, tag } = destination;
  if (taggedManifest === undefined) return { claimed: null, isFree: true };
  const other: ClaimedResult = { claimed: null, isFree: false };
  try {
    const manifest = await taggedManifest;
    if (manifest.raw.digest === sourceManifest.raw.digest) return other;
    const readers = { from: new ManifestReader(source.repository), to: new ManifestReader(repository) };
    const comparison = { run, claims: claimsOf(run), readers };
    const isClaimed = await isResultOf(sourceManifest, manifest, comparison, 0);
    return isClaimed ? { claimed: manifest, isFree: false } : other;
  } catch (error) {
    if (!(error instanceof RegistryError && unusableCodes.has(error.code))) throw error;
    return { claimed: null, isFree: error.code === 'NOT_FOUND' && error.facts['tag'] === tag };
  }
}

async function isResultOf(
  source: Manifest,
  result: Manifest,
  comparison: Comparison,
  depth: number,
): Promise<boolean> {
  if (source.kind === 'image') return result.kind === 'image' && isSignedImage(source, result, comparison);
  return result.kind === 'index' && isSignedIndex(source, result, comparison, depth);
}

async function isSignedIndex(
  source: ImageIndex,
  result: ImageIndex,
  comparison: Comparison,
  above: number,
): Promise<boolean> {
  const { run, readers } = comparison;
  const { signal } = run;
  const replacements = new Map<number, ChildReplacement>();
  const pairs: ChildPair[] = [];
  const depth = above + 1;
  let at = 0;
  for (const [index, child] of source.manifests.entries()) {
    const counterpart = result.manifests[at];
    if (counterpart?.digest === child.digest) {
      at += 1;
    } else if (describedByChild(child) !== undefined) {
      replacements.set(index, 'drop');
    } else {
      if (counterpart === undefined) return false;
      pairs.push({ index, child, counterpart });
      at += 1;
    }
  }
  const compare = async ({ child, counterpart }: ChildPair): Promise<ChildReplacement | undefined> => {
    const [from, to] = await Promise.all([
      readers.from.read(child, { depth, signal }),
      readers.to.read(counterpart, { depth, signal }),
    ]);
    return (await isResultOf(from, to, comparison, depth)) ? changedChild(child, to.raw) : undefined;
  };
  for await (const { item, result: changed } of mapAhead(pairs, concurrency, compare, signal)) {
    if (changed === undefined) return false;
    replacements.set(item.index, changed);
  }
  const claims = { ...comparison.claims, baseName: claimedName(result.annotations) };
  // Docker's manifest lists have no annotations.
  const annotations = signingAnnotations(claims, source.raw.digest, claimedModuleCount(result.annotations));
  return replaceChildren(source, replacements, annotations).bytes.equals(result.raw.bytes);
}

async function isSignedImage(
  manifest: ImageManifest,
  result: ImageManifest,
  { run, claims }: Comparison,
): Promise<boolean> {
  const { source, destination, mode, sourceDateEpoch, signal } = run;
  const added = mode === 'append' ? 1 : 0;
  if (result.layers.length !== manifest.layers.length + added) return false;
  // Docker's manifests have no annotations: there, one configuration tells whether the other one is needed.
  const isOci = manifest.family === 'oci';
  if (isOci && !claimsMatch(result.annotations, claims, manifest.raw.digest)) return false;
  const readOriginal = () => readImageConfig(source.repository, manifest, { signal });
  const [written, original] = await Promise.all([
    readImageConfig(destination.repository, result, { signal }),
    isOci ? readOriginal() : undefined,
  ]);
  const claimed = isOci ? result.annotations : labelsOf(written);
  if (!claimsMatch(claimed, claims, manifest.raw.digest)) return false;
  const config = original ?? (await readOriginal());
  const expected = writeSignedImage({
    source: { manifest, config },
    claims: { ...claims, baseName: claimedName(claimed) },
    mode,
    sourceDateEpoch,
    modulesSigned: claimedModuleCount(claimed),
    layers: expectedLayers(manifest, result, mode),
    diffIds: written.diffIds,
    linksBroken: hasCommit(config) && !hasCommit(written),
  });
  return expected.raw.bytes.equals(result.raw.bytes);
}

/** Returns the layers as signing would describe them, with the digests of the result. */
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

function claimedModuleCount(annotations: Readonly<Record<string, string>>): number {
  return Number(annotations[annotationKeys.modules]);
}
