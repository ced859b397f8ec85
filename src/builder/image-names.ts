import { shortHash } from './names.ts';
import type { ModuleName } from './labels.ts';
import { BuilderError } from './target.ts';

/** Maximum length of a tag (distribution-spec, "Pulling manifests"). */
const maxTagLength = 128;
const defaultTag = 'latest';

/**
 * Returns the name of the image between build and signing: `<image>:<tag>-<namespace>_<module>_kmm_unsigned`,
 * or without a Module `<image>:<tag>-kmm_unsigned`. If the tag would be too long, its middle is replaced by a
 * hash.
 * @throws BuilderError INVALID_IMAGE if the final image is named only by digest
 */
export function intermediateImage(image: string, module?: ModuleName): string {
  const { name, tag } = splitTag(image);
  const suffix = 'kmm_unsigned';
  const owner = module === undefined ? [] : [module.namespace, module.name];
  const fullTag = `${tag}-${[...owner, suffix].join('_')}`;
  if (fullTag.length <= maxTagLength) return `${name}:${fullTag}`;
  const end = `-${shortHash([tag, ...owner])}_${suffix}`;
  return `${name}:${fullTag.slice(0, maxTagLength - end.length)}${end}`;
}

function splitTag(image: string): { name: string; tag: string } {
  const at = image.indexOf('@');
  const named = at === -1 ? image : image.slice(0, at);
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1);
  if (colon !== -1) return { name: named.slice(0, colon), tag: named.slice(colon + 1) };
  if (at === -1) return { name: named, tag: defaultTag };
  throw new BuilderError({
    code: 'INVALID_IMAGE',
    message: `${image} is named by its digest, so it cannot be the destination of a build`,
    hint: 'Give containerImage a tag, such as ${KERNEL_FULL_VERSION}.',
    facts: { image },
  });
}

/**
 * Returns an image with another tag: `registry:5000/kaniko:v1@sha256:…` and `v2` yield
 * `registry:5000/kaniko:v2`.
 */
export function withTag(image: string, tag: string): string {
  const named = image.split('@', 1)[0] ?? image;
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1);
  return `${colon === -1 ? named : named.slice(0, colon)}:${tag}`;
}

/** Returns an image pinned by its digest, without its tag. */
export function withDigest(image: string, digest: string): string {
  const named = image.split('@', 1)[0] ?? image;
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1);
  return `${colon === -1 ? named : named.slice(0, colon)}@${digest}`;
}
