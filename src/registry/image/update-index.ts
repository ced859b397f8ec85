import type { Descriptor, ImageIndex, JsonObject, RawManifest } from '../model/manifest.ts';
import { isJsonObject, serializeJson, withoutFields } from '../model/json.ts';
import { createRawManifest } from '../model/parse-manifest.ts';

/** What becomes of a child: fields of its descriptor that are new, or it is left out. */
export type ChildReplacement =
  | Partial<Pick<Descriptor, 'mediaType' | 'digest' | 'size' | 'annotations'>>
  | 'drop';

/**
 * Writes an index anew with some children replaced, every other field and every unknown one kept.
 * @param replacements by position in the index
 * @param annotations added to the index; left out in a manifest list, which has none
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

/** Adds annotations to a manifest's JSON, where its family has them, and leaves some out. */
export function withAnnotations(
  json: JsonObject,
  { family, annotations: present }: Pick<ImageIndex, 'family' | 'annotations'>,
  annotations: Readonly<Record<string, string>>,
  drop: readonly string[] = [],
): JsonObject {
  const added = family === 'docker' ? {} : annotations;
  if (Object.keys(added).length + drop.length === 0) return json;
  return { ...json, annotations: { ...withoutFields(present, drop), ...added } };
}

/** Puts new values into a descriptor's JSON. Embedded content (`data`) belonged to the old digest. */
export function replaceFields(child: JsonObject, fields: JsonObject): JsonObject {
  const { data: _, ...rest } = child;
  return { ...rest, ...fields };
}

function childrenOf({ json }: ImageIndex): JsonObject[] {
  const { manifests } = json;
  return Array.isArray(manifests) ? manifests.filter(isJsonObject) : [];
}
