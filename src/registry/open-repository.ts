import { RegistryClient, type RegistryClientOptions } from './image/client.ts';
import { LayoutRepository } from './image/layout-repository.ts';
import type { ImageRepository } from './image/repository.ts';
import { type Digest, isDigest } from './model/digest.ts';
import { invalidReference, parseReference, type Reference, type Selector } from './model/reference.ts';

/** The location of an image: in a registry, or in an OCI layout on disk. */
export type ImageLocationReference =
  | { readonly kind: 'registry'; readonly reference: Reference }
  | { readonly kind: 'layout'; readonly directory: string; readonly tag?: string; readonly digest?: Digest };

/** The valid values of `org.opencontainers.image.ref.name` (image-spec, annotations.md). */
const layoutTag = /^[A-Za-z0-9]+(?:[-._:@/+]+[A-Za-z0-9]+)*$/;

const scheme = 'oci:';

/** The prefix of skopeo, podman and buildah for an image in a registry. */
const registryScheme = 'docker://';

/** The other transports of skopeo, podman and buildah, and what each of them refers to. */
const transports: Readonly<Record<string, string>> = {
  'containers-storage': "an image in podman's or buildah's storage",
  dir: 'an image in a directory of no standard form',
  'docker-archive': 'an archive as docker save writes it',
  'docker-daemon': "an image in docker's storage",
  'oci-archive': 'an archive of an OCI layout',
  ostree: 'an image in an OSTree repository',
  sif: 'an image of Singularity',
  tarball: 'a tar archive',
};

/**
 * Parses the IMAGE argument of a command: a registry reference, with or without `docker://` before it, or
 * `oci:DIR[:TAG]` or `oci:DIR@sha256:…`. As in other tools, the first colon after `oci:` ends the directory.
 * @throws RegistryError INVALID_REFERENCE
 */
export function parseImageLocation(text: string): ImageLocationReference {
  if (text.startsWith(registryScheme)) return inRegistry(text.slice(registryScheme.length));
  if (!text.startsWith(scheme)) {
    refuseTransport(text);
    return inRegistry(text);
  }
  if (text.startsWith(`${scheme}//`)) refuseOciUrl(text);
  const rest = text.slice(scheme.length);
  const at = rest.search(/@sha(?:256|512):/);
  const digest = at === -1 ? undefined : rest.slice(at + 1);
  const place = at === -1 ? rest : rest.slice(0, at);
  const colon = place.indexOf(':');
  const directory = colon === -1 ? place : place.slice(0, colon);
  const tag = colon === -1 ? undefined : place.slice(colon + 1);
  if (directory === '') invalidReference(text, 'the directory after "oci:" is empty');
  if (directory.includes('\0')) invalidReference(text, 'the directory contains a NUL character');
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

function inRegistry(text: string): ImageLocationReference {
  return { kind: 'registry', reference: parseReference(text) };
}

/**
 * Refuses other transports: otherwise, `dir:image` would be the tag `image` of a repository `dir` on Docker
 * Hub.
 */
function refuseTransport(text: string): void {
  const transport = text.slice(0, Math.max(text.indexOf(':'), 0));
  const meaning = Object.hasOwn(transports, transport) ? transports[transport] : undefined;
  if (meaning === undefined) return;
  invalidReference(
    text,
    `${transport}: names ${meaning}, which is not supported`,
    `Copy it to a registry or an OCI layout first: skopeo copy ${transport}:… oci:DIR:TAG`,
  );
}

/**
 * Refuses `oci://`, which Helm and ORAS use for registries; as a layout, it would be a directory below the
 * root.
 */
function refuseOciUrl(text: string): never {
  const rest = text.slice(`${scheme}//`.length);
  const hint = rest.startsWith('/')
    ? `Write oci:${rest} for the OCI layout.`
    : `Write ${rest} for an image in a registry, oci:DIR[:TAG] for an OCI layout.`;
  return invalidReference(text, 'it begins with oci://', hint);
}

/**
 * Opens the repository at a location: one in a registry, with its own connection that its `close` releases,
 * or an OCI layout. Nothing is sent or created until it is used.
 * @throws RegistryError INVALID_REFERENCE
 */
export function openRepository(
  location: ImageLocationReference,
  options: RegistryClientOptions = {},
): Promise<ImageRepository> {
  return Promise.resolve().then(() => {
    if (location.kind === 'layout') return new LayoutRepository(location.directory);
    const client = new RegistryClient(options);
    return client.repository(location.reference, { closesClient: true });
  });
}

/**
 * Returns what a location selects from its repository: the digest, else the tag. A layout with a single entry
 * needs neither.
 * @throws RegistryError NOT_FOUND, INVALID_REFERENCE
 */
export async function selectorOf(
  location: ImageLocationReference,
  repository: ImageRepository,
): Promise<Selector> {
  const { tag, digest } = location.kind === 'registry' ? location.reference : location;
  if (digest !== undefined) return { digest };
  if (tag !== undefined) return { tag };
  return repository.defaultSelector();
}
