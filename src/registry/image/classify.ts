import { RegistryError } from '../model/errors.ts';
import type { Descriptor, ImageManifest } from '../model/manifest.ts';
import { isFileSystemLayerType, isImageConfigType } from '../model/media-types.ts';
import { isUnknownPlatform, type Platform } from '../model/platform.ts';
import { type ImageConfig, readImageConfig } from './config.ts';
import type { ImageRepository, OperationOptions } from './repository.ts';

/** The type of a manifest without children. */
export type ClassifiedManifest =
  | {
      readonly type: 'image';
      readonly config: ImageConfig;
      /** undefined if neither the index nor the configuration states it. */
      readonly platform: Platform | undefined;
    }
  /** Not runnable, such as a chart, a signature or BuildKit's attestations. */
  | { readonly type: 'artifact'; readonly artifactType: string };

/**
 * Distinguishes images from what no runtime could run, by their content and never by their annotations. A
 * manifest without file system layers is an artifact if its configuration is not an image's or its platform
 * is `unknown/unknown`; one with file system layers only if its configuration cannot be read as an image's at
 * all.
 * @param described the platform that the manifest's descriptor in an index states
 * @throws RegistryError INVALID_MANIFEST, BLOB_NOT_FOUND, DIGEST_MISMATCH
 */
export async function classifyManifest(
  repository: ImageRepository,
  manifest: ImageManifest,
  described: Platform | undefined,
  { signal }: OperationOptions,
): Promise<ClassifiedManifest> {
  const hasFiles = manifest.layers.some(({ mediaType }) => isFileSystemLayerType(mediaType));
  const hasConfig = isImageConfigType(manifest.config.mediaType);
  if (!hasFiles && (!hasConfig || (described !== undefined && isUnknownPlatform(described)))) {
    return artifact(manifest);
  }
  const config = hasConfig
    ? await readImageConfig(repository, manifest, { signal })
    : await readLikelyConfig(repository, manifest, { signal });
  if (config === undefined) return artifact(manifest);
  const platform = described ?? config.platform;
  const isHidden = !hasFiles && platform !== undefined && isUnknownPlatform(platform);
  return isHidden ? artifact(manifest) : { type: 'image', config, platform };
}

function artifact({ json, config }: ImageManifest): ClassifiedManifest {
  const { artifactType } = json;
  const isStated = typeof artifactType === 'string' && artifactType !== '';
  return { type: 'artifact', artifactType: isStated ? artifactType : config.mediaType };
}

/**
 * Reads a configuration of another media type. Some runtimes ignore the media type, so one that parses as an
 * image's counts as one.
 */
async function readLikelyConfig(
  repository: ImageRepository,
  manifest: ImageManifest,
  options: OperationOptions,
): Promise<ImageConfig | undefined> {
  try {
    return await readImageConfig(repository, manifest, options);
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    if (error.code === 'INVALID_MANIFEST' || error.code === 'LIMIT_EXCEEDED') return undefined;
    throw error;
  }
}

/**
 * What a child of an index says about another child. It refers to one exact digest and is wrong about any
 * other image.
 */
export interface ChildDescription {
  readonly what: 'attestation' | 'SOCI index';
  /** The digest that it refers to; undefined if it does not state one. */
  readonly subject: string | undefined;
}

/**
 * SOCI indexes name the image in an annotation, and files in its layers by their compressed bytes
 * (soci-snapshotter).
 */
const sociSubject = 'com.amazon.soci.image-manifest-digest';

/**
 * Returns what a child says about another one, judged by its descriptor; undefined if it does not refer to
 * another. It may still be an image.
 */
export function describedByChild({ annotations = {} }: Descriptor): ChildDescription | undefined {
  if (annotations['vnd.docker.reference.type'] !== undefined) {
    return { what: 'attestation', subject: annotations['vnd.docker.reference.digest'] };
  }
  const subject = annotations[sociSubject];
  return subject === undefined ? undefined : { what: 'SOCI index', subject };
}

/** Returns the names of annotations about an image's unchanged bytes, which are invalid for a signed one. */
export function staleAnnotations(annotations: Readonly<Record<string, string>>): string[] {
  return Object.keys(annotations).filter((name) => name.startsWith('com.amazon.soci.'));
}
