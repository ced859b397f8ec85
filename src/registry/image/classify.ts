import { RegistryError } from '../model/errors.ts';
import type { Descriptor, ImageManifest } from '../model/manifest.ts';
import { isFileSystemLayerType, isImageConfigType } from '../model/media-types.ts';
import { isUnknownPlatform, type Platform } from '../model/platform.ts';
import { type ImageConfig, readImageConfig } from './config.ts';
import type { ImageRepository, OperationOptions } from './repository.ts';

/** What a manifest without children is. */
export type ClassifiedManifest =
  | {
      readonly type: 'image';
      readonly config: ImageConfig;
      /** undefined when neither the index nor the configuration says. */
      readonly platform: Platform | undefined;
    }
  /** Nothing that a runtime could run, such as a chart, a signature or BuildKit's attestations. */
  | { readonly type: 'artifact'; readonly artifactType: string };

/** What is known of a manifest besides its content. */
export interface ClassifyOptions extends OperationOptions {
  /** As its descriptor in an index says. */
  readonly platform?: Platform | undefined;
}

/**
 * Tells images from what no runtime could run, by what they are and never by their annotations: an artifact has no
 * layer of files and either another configuration than an image's or the platform `unknown/unknown`; one with layers
 * of files is an artifact only when its configuration is none of an image at all.
 * @throws RegistryError INVALID_MANIFEST, BLOB_NOT_FOUND, DIGEST_MISMATCH
 */
export async function classifyManifest(
  repository: ImageRepository,
  manifest: ImageManifest,
  { platform: described, signal }: ClassifyOptions,
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

/** Some runtimes do not look at the configuration's media type: what can be read as an image's counts as one. */
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

/** What a child of an index tells of another child: it speaks of one exact digest and is wrong about any other image. */
export interface ChildDescription {
  readonly what: 'attestation' | 'SOCI index';
  /** The digest that it speaks of; undefined when it does not say. */
  readonly subject: string | undefined;
}

/** SOCI indexes name the image in an annotation, and files in its layers by their compressed bytes (soci-snapshotter). */
const sociSubject = 'com.amazon.soci.image-manifest-digest';

/** What a child says of another one, by its descriptor; undefined when it stands for itself. It may still be an image. */
export function describedByChild({ annotations = {} }: Descriptor): ChildDescription | undefined {
  if (annotations['vnd.docker.reference.type'] !== undefined) {
    return { what: 'attestation', subject: annotations['vnd.docker.reference.digest'] };
  }
  const subject = annotations[sociSubject];
  return subject === undefined ? undefined : { what: 'SOCI index', subject };
}

/** Names of annotations that are about an image's unchanged bytes: they do not hold for a signed one. */
export function staleAnnotations(annotations: Readonly<Record<string, string>>): string[] {
  return Object.keys(annotations).filter((name) => name.startsWith('com.amazon.soci.'));
}
