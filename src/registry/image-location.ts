import { isDigest, type Digest } from './digest.ts';
import { invalidReference, parseReference, type Reference } from './reference.ts';

/** Where an image is: in a registry, or in an OCI layout on disk. */
export type ImageLocationReference =
  | { readonly kind: 'registry'; readonly reference: Reference }
  | { readonly kind: 'layout'; readonly directory: string; readonly tag?: string; readonly digest?: Digest };

/** What `org.opencontainers.image.ref.name` may hold (image-spec, annotations.md). */
const layoutTag = /^[A-Za-z0-9]+(?:[-._:@/+]+[A-Za-z0-9]+)*$/;

const scheme = 'oci:';

/**
 * Parses what a command takes as IMAGE: a registry reference, or `oci:DIR[:TAG]` or `oci:DIR@sha256:…`.
 * As in other tools, the first colon after `oci:` ends the directory.
 * @throws RegistryError INVALID_REFERENCE
 */
export function parseImageLocation(text: string): ImageLocationReference {
  if (!text.startsWith(scheme)) return { kind: 'registry', reference: parseReference(text) };
  const rest = text.slice(scheme.length);
  const at = rest.search(/@sha(?:256|512):/);
  const digest = at === -1 ? undefined : rest.slice(at + 1);
  const place = at === -1 ? rest : rest.slice(0, at);
  const colon = place.indexOf(':');
  const directory = colon === -1 ? place : place.slice(0, colon);
  const tag = colon === -1 ? undefined : place.slice(colon + 1);
  if (directory === '') invalidReference(text, 'the directory after "oci:" is empty');
  if (directory.includes('\0')) invalidReference(text, 'the directory holds a NUL character');
  if (tag !== undefined && !layoutTag.test(tag)) {
    invalidReference(
      text,
      tag === '' ? 'the tag after the colon is empty' : `${JSON.stringify(tag)} is not a tag`,
    );
  }
  if (digest !== undefined && !isDigest(digest)) {
    return invalidReference(text, 'what follows the @ is not a digest (sha256: and 64 hexadecimal digits)');
  }
  return {
    kind: 'layout',
    directory,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}
