import { isJsonObject, serializeJson, withoutFields, type JsonObject } from '../model/json.ts';
import type { Descriptor, ImageIndex, ImageManifest, RawManifest } from '../model/manifest.ts';
import { createRawManifest } from '../model/parse-manifest.ts';

/** The changes to a manifest. */
export interface ManifestChanges {
  readonly config: Descriptor;
  /** All layers, base first: those of the image, some replaced in place, then new ones. */
  readonly layers: readonly Descriptor[];
  /** Annotations to add; ignored for Docker's schema 2, which has none. */
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  /** Names of annotations to remove. */
  readonly dropAnnotations?: readonly string[] | undefined;
}

/**
 * Annotations that index into the bytes of one compressed layer (eStargz, zstd:chunked, and other
 * snapshotters' own), or state its uncompressed digest. They are invalid once a layer has been rewritten.
 */
const boundToBytes =
  /^(?:containerd\.io\/(?:snapshot\/|uncompressed$)|io\.(?:github\.)?containers\.(?:estargz|zstd-chunked)\.)/;

/**
 * Rewrites a manifest with another configuration and other layers. Unchanged layers and all other fields,
 * including unknown ones, are kept as they are.
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
  const remaining = Object.entries(changed.annotations ?? {}).filter(([name]) => !boundToBytes.test(name));
  return replaceFields(rest, {
    mediaType: changed.mediaType,
    digest: changed.digest,
    size: changed.size,
    ...(remaining.length === 0 ? {} : { annotations: Object.fromEntries(remaining) }),
    ...(changed.urls === undefined ? {} : { urls: changed.urls }),
  });
}

/** The change to a child: new fields of its descriptor, or its removal. */
export type ChildReplacement =
  | Partial<Pick<Descriptor, 'mediaType' | 'digest' | 'size' | 'annotations'>>
  | 'drop';

/**
 * Rewrites an index with some children replaced; all other fields, including unknown ones, are kept.
 * @param replacements by position in the index
 * @param annotations added to the index; ignored for a manifest list, which has none
 */
export function replaceChildren(
  index: ImageIndex,
  replacements: ReadonlyMap<number, ChildReplacement>,
  annotations: Readonly<Record<string, string>> = {},
): RawManifest {
  const children = childrenOf(index).flatMap((child, at) => {
    const replacement = replacements.get(at);
    if (replacement === 'drop') return [];
    return [replacement === undefined ? child : replaceFields(child, replacement)];
  });
  const json = { ...index.json, manifests: children };
  return createRawManifest(index.raw.mediaType, serializeJson(withAnnotations(json, index, annotations)));
}

/** Adds annotations to a manifest's JSON, if its family has them, and removes some. */
function withAnnotations(
  json: JsonObject,
  { family, annotations: present }: Pick<ImageIndex, 'family' | 'annotations'>,
  annotations: Readonly<Record<string, string>>,
  drop: readonly string[] = [],
): JsonObject {
  const added = family === 'docker' ? {} : annotations;
  if (Object.keys(added).length + drop.length === 0) return json;
  return { ...json, annotations: { ...withoutFields(present, drop), ...added } };
}

/**
 * Replaces values in a descriptor's JSON. Drops embedded content (`data`), which belonged to the old digest.
 */
function replaceFields(child: JsonObject, fields: JsonObject): JsonObject {
  const { data: _, ...rest } = child;
  return { ...rest, ...fields };
}

function childrenOf({ json }: ImageIndex): JsonObject[] {
  const { manifests } = json;
  return Array.isArray(manifests) ? manifests.filter(isJsonObject) : [];
}
