import type { ImageRepository } from '../registry/image/repository.ts';
import { parseImageLocation } from '../registry/image-location.ts';
import { openRepository, selectorOf } from '../registry/open-repository.ts';
import type { ImageLocation } from '../signer/inspect-image.ts';
import { usageError } from './errors.ts';
import { registryOptions } from './options/registry-options.ts';
import type { RegistryFlags } from './options/registry-flags.ts';
import type { Session } from './session.ts';

/** An image whose repository is closed when its scope ends. */
export interface OpenImage extends ImageLocation, AsyncDisposable {}

/** A place for an image whose repository is closed when its scope ends. */
export interface OpenDestination extends AsyncDisposable {
  readonly repository: ImageRepository;
  readonly tag: string | undefined;
}

/** Opens the image that IMAGE names. Use with `await using`. @throws RegistryError INVALID_REFERENCE, INVALID_CONFIGURATION */
export async function openImage(text: string, flags: RegistryFlags, session: Session): Promise<OpenImage> {
  const location = parseImageLocation(text);
  const repository = await openRepository(location, await registryOptions(flags, session));
  session.progress.watch(repository);
  return {
    repository,
    selector: await selectorOf(location, repository),
    [Symbol.asyncDispose]: () => repository.close(),
  };
}

/** Opens the place that DESTINATION names. Use with `await using`. @throws CliError USAGE, RegistryError */
export async function openDestination(
  text: string,
  flags: RegistryFlags,
  session: Session,
): Promise<OpenDestination> {
  const location = parseImageLocation(text);
  const { tag, digest } = location.kind === 'registry' ? location.reference : location;
  if (digest !== undefined) {
    throw usageError(
      `The destination "${text}" names a digest`,
      'Name a tag: the digest of the result is not known yet.',
    );
  }
  const repository = await openRepository(location, await registryOptions(flags, session));
  session.progress.watch(repository);
  return { repository, tag, [Symbol.asyncDispose]: () => repository.close() };
}
