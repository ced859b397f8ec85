import { labelsOf, readImageConfig } from '../../registry/image/config.ts';
import { ManifestReader } from '../../registry/image/manifest-reader.ts';
import type { ImageRepository } from '../../registry/image/repository.ts';
import type { Manifest } from '../../registry/model/manifest.ts';
import { isImageConfigType } from '../../registry/model/media-types.ts';
import { parseReference } from '../../registry/model/reference.ts';
import { annotationKeys } from './annotations.ts';

/**
 * The name of its source that a signed image states, in annotations or labels; null when there is none. It is worth
 * nothing without the digest beside it, which is compared. @throws RegistryError
 */
export async function statedBaseName(
  manifest: Manifest,
  options: { readonly repository: ImageRepository; readonly signal?: AbortSignal | undefined },
): Promise<string | null> {
  const { repository, signal } = options;
  const reader = new ManifestReader(repository);
  const waiting = [{ manifest, depth: 0 }];
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const { manifest: one, depth } = next;
    if (one.family === 'oci') {
      const name = nameIn(one.annotations);
      if (name !== null || depth === 0) return name;
    } else if (one.kind === 'index') {
      for (const child of one.manifests) {
        waiting.push({ manifest: await reader.read(child, { depth: depth + 1, signal }), depth: depth + 1 });
      }
    } else if (isImageConfigType(one.config.mediaType)) {
      const name = nameIn(labelsOf(await readImageConfig(repository, one, { signal })));
      if (name !== null) return name;
    }
  }
  return null;
}

/** The name that annotations or labels state; null when it is no reference. */
export function nameIn(stated: Readonly<Record<string, string>>): string | null {
  const name = stated[annotationKeys.baseName];
  if (name === undefined) return null;
  try {
    parseReference(name);
    return name;
  } catch {
    return null;
  }
}
