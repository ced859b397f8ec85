import { buffer } from 'node:stream/consumers';
import { RegistryError } from '../model/errors.ts';
import type { Descriptor } from '../model/manifest.ts';
import { maxManifestSize } from '../model/json.ts';
import type { ImageRepository, OperationOptions } from './repository.ts';

/**
 * Reads a small blob, such as a configuration, whole and verified.
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
