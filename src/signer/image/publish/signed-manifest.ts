import { staleAnnotations } from '../../../registry/image/classify.ts';
import { updateImageConfig, type ImageConfig, type WrittenConfig } from '../../../registry/image/config.ts';
import { updateManifest } from '../../../registry/image/update-manifest.ts';
import type { LayerCompression } from '../../../registry/model/media-types.ts';
import type {
  Descriptor,
  ImageManifest,
  ManifestFamily,
  RawManifest,
} from '../../../registry/model/manifest.ts';
import { isNonDistributableLayerType, layerMediaType } from '../../../registry/model/media-types.ts';
import type { SignMode } from '../../model/report.ts';
import { signingAnnotations, type SigningClaims } from './annotations.ts';
import { staleOstreeLabels } from '../plan/ostree.ts';

/** The inputs of a signed image's manifest and configuration. */
export interface SignedImageParts {
  readonly source: { readonly manifest: ImageManifest; readonly config: ImageConfig };
  readonly claims: SigningClaims;
  readonly mode: SignMode;
  /** Seconds since the epoch. */
  readonly sourceDateEpoch: number;
  readonly modulesSigned: number;
  /** All layers of the result, base first; the diff IDs follow. */
  readonly layers: readonly Descriptor[];
  readonly diffIds: readonly string[];
  /** Whether modules were unlinked from an OSTree repository. */
  readonly linksBroken: boolean;
}

/** A manifest and a configuration, ready to be stored. */
export interface SignedImage {
  readonly raw: RawManifest;
  readonly config: WrittenConfig;
  /** Sentences about labels and annotations that were left out because they would be false. */
  readonly notes: readonly string[];
}

/** Writes the manifest and the configuration of a signed image. The same parts yield the same bytes. */
export function writeSignedImage(parts: SignedImageParts): SignedImage {
  const { source, mode, layers, diffIds } = parts;
  const { manifest } = source;
  const annotations = signingAnnotations(parts.claims, manifest.raw.digest, parts.modulesSigned);
  const staleLabels = staleOstreeLabels(source.config, parts);
  const config = updateImageConfig(source.config, {
    diffIds,
    ...(mode === 'append'
      ? { appended: { createdBy: 'kmm-sign sign', created: parts.sourceDateEpoch } }
      : {}),
    ...(manifest.family === 'docker' ? { labels: annotations } : {}),
    dropLabels: staleLabels,
  });
  const dropAnnotations = staleAnnotations(manifest.annotations);
  const raw = updateManifest(manifest, {
    config: config.descriptor,
    layers,
    ...(manifest.family === 'oci' ? { annotations } : {}),
    dropAnnotations,
  });
  return {
    raw,
    config,
    notes: [
      ...staleLabels.map((name) => leftOut('label', name)),
      ...dropAnnotations.map((name) => leftOut('annotation', name)),
    ],
  };
}

/**
 * Returns the descriptor of a layer that replaces another one. URLs, which lead to the old bytes, are
 * dropped; and since the new bytes are in the registry, it becomes an ordinary, distributable layer.
 */
export function replacedDescriptor(
  original: Descriptor,
  written: {
    readonly digest: Descriptor['digest'];
    readonly size: number;
    readonly compression: LayerCompression;
  },
  family: ManifestFamily,
): Descriptor {
  const { urls: _, ...kept } = original;
  const { digest, size, compression } = written;
  const mediaType = isNonDistributableLayerType(original.mediaType)
    ? layerMediaType(family, compression)
    : original.mediaType;
  return { ...kept, mediaType, digest, size };
}

function leftOut(kind: string, name: string): string {
  return `the ${kind} ${name} was removed, since it describes the unsigned image`;
}
