import { RegistryError } from '../../registry/model/errors.ts';
import { exitCodes, type ExitCode } from '../output/exit-codes.ts';
import type { ImageLocation } from '../../signer/image/read/platform-images.ts';
import { Images } from '../session/open-image.ts';
import type { RegistryFlags } from '../options/registry-flags.ts';
import type { Session } from '../session/session.ts';

export interface ExistsOptions {
  readonly image: string;
  readonly registry: RegistryFlags;
}

/** Tells whether an image exists. Only "not found" counts as no; every other failure stays one. */
export async function exists(options: ExistsOptions, session: Session): Promise<ExitCode> {
  await using images = new Images(session);
  const image = await images.open(options.image, options.registry);
  const digest = await findDigest(image, session.signal);
  session.output({
    json: () => ({ image: options.image, exists: digest !== null, digest }),
    text: () => (digest === null ? 'not found' : 'exists'),
  });
  return digest === null ? exitCodes.imageNotFound : exitCodes.done;
}

async function findDigest(
  { repository, selector }: ImageLocation,
  signal: AbortSignal,
): Promise<string | null> {
  try {
    return (await repository.resolve(selector, { signal })).digest;
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
}
