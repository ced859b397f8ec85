import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { RegistryError } from '../model/errors.ts';
import { maxManifestSize } from '../model/json.ts';
import type { Descriptor } from '../model/manifest.ts';
import { isNonDistributableLayerType } from '../model/media-types.ts';
import type { ImageRepository, OperationOptions } from './repository.ts';

/**
 * Opens the blob of a layer. A non-distributable ("foreign") one is read like any other, since runtimes
 * unpack it.
 * @throws RegistryError BLOB_NOT_FOUND, with advice if the layer may be stored elsewhere
 */
export async function openLayer(
  repository: ImageRepository,
  descriptor: Descriptor,
  options: OperationOptions = {},
): Promise<Readable> {
  try {
    return await repository.openBlob(descriptor, options);
  } catch (error) {
    if (!isMissingForeignLayer(error, descriptor)) throw error;
    const { digest, urls = [] } = descriptor;
    throw new RegistryError({
      code: 'BLOB_NOT_FOUND',
      message: `${repository.name} does not have the non-distributable layer ${digest}, so its content cannot be checked`,
      hint: 'Push the image with all its layers (docker: allow-nondistributable-artifacts; containerd: --allow-non-distributable-blobs), or build it on a different base.',
      facts: { repository: repository.name, digest, urls: urls.map((url) => url.slice(0, 200)) },
    });
  }
}

/** Tells whether a blob is missing because it belongs to a non-distributable layer. */
export function isMissingForeignLayer(error: unknown, { mediaType }: Descriptor): boolean {
  return (
    error instanceof RegistryError &&
    error.code === 'BLOB_NOT_FOUND' &&
    isNonDistributableLayerType(mediaType)
  );
}

/**
 * Reads and verifies a whole small blob, such as a configuration.
 * @throws RegistryError LIMIT_EXCEEDED before anything is read, BLOB_NOT_FOUND, DIGEST_MISMATCH
 */
export async function readBlob(
  repository: ImageRepository,
  descriptor: Descriptor,
  options: OperationOptions = {},
): Promise<Buffer> {
  if (descriptor.size > maxManifestSize) {
    throw new RegistryError({
      code: 'LIMIT_EXCEEDED',
      message: `The blob ${descriptor.digest} of ${repository.name} has ${descriptor.size} bytes, more than the limit of ${maxManifestSize}`,
      facts: { repository: repository.name, digest: descriptor.digest },
    });
  }
  return buffer(await repository.openBlob(descriptor, options));
}
