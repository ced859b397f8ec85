import type { Descriptor, ImageManifest, JsonObject, RawManifest } from '../model/manifest.ts';
import { isJsonObject, serializeJson } from '../model/json.ts';
import { createRawManifest } from '../model/parse-manifest.ts';
import { replaceFields, withAnnotations } from './update-index.ts';

/** What is new in a manifest. */
export interface ManifestChanges {
  readonly config: Descriptor;
  /** All layers, base first: those of the image, some of them replaced in place, then new ones. */
  readonly layers: readonly Descriptor[];
  /** Added to the manifest; left out in Docker's schema 2, which has none. */
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  /** Names of annotations that are left out. */
  readonly dropAnnotations?: readonly string[] | undefined;
}

/**
 * Annotations that index into the bytes of one compressed layer (eStargz, zstd:chunked, and other
 * snapshotters' own), or state its uncompressed digest. They do not fit once a layer is written anew.
 */
const boundToBytes =
  /^(?:containerd\.io\/(?:snapshot\/|uncompressed$)|io\.(?:github\.)?containers\.(?:estargz|zstd-chunked)\.)/;

/**
 * Writes a manifest anew with another configuration and other layers. Unchanged layers, every other field
 * and every unknown one are kept as they are.
 */
export function updateManifest(image: ImageManifest, changes: ManifestChanges): RawManifest {
  const { config, layers } = image.json;
  const originals = Array.isArray(layers) ? layers.filter(isJsonObject) : [];
  const json = {
    ...image.json,
    config: updateDescriptor(isJsonObject(config) ? config : {}, image.config, changes.config),
    layers: changes.layers.map((layer, at) => updateDescriptor(originals[at] ?? {}, image.layers[at], layer)),
  };
  const { annotations = {}, dropAnnotations = [] } = changes;
  const bytes = serializeJson(withAnnotations(json, image, annotations, dropAnnotations));
  return createRawManifest(image.raw.mediaType, bytes);
}

function updateDescriptor(
  json: JsonObject,
  original: Descriptor | undefined,
  changed: Descriptor,
): JsonObject {
  if (original?.digest === changed.digest && original.mediaType === changed.mediaType) return json;
  const { annotations: _, urls: __, ...rest } = json;
  const kept = Object.entries(changed.annotations ?? {}).filter(([name]) => !boundToBytes.test(name));
  return replaceFields(rest, {
    mediaType: changed.mediaType,
    digest: changed.digest,
    size: changed.size,
    ...(kept.length === 0 ? {} : { annotations: Object.fromEntries(kept) }),
    ...(changed.urls === undefined ? {} : { urls: changed.urls }),
  });
}
