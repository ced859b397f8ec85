import { RegistryError } from '../../registry/model/errors.ts';
import type { Descriptor } from '../../registry/model/manifest.ts';
import type { Platform } from '../../registry/model/platform.ts';
import { type ImageLocation, platformImages } from '../../signer/image/read/platform-images.ts';
import type { RegistryFlags } from '../options/registry-flags.ts';
import { writeDigestFile } from '../output/digest-file.ts';
import { type ExitCode, exitCodes } from '../output/exit-codes.ts';
import { Images } from '../session/open-image.ts';
import type { Session } from '../session/session.ts';

export interface ResolveOptions {
  readonly image: string;
  readonly registry: RegistryFlags;
  readonly platform?: Platform | undefined;
  readonly fullReference?: boolean | undefined;
  readonly digestFile?: string | undefined;
}

/** Prints the digest that an image reference resolves to. */
export async function resolve(options: ResolveOptions, session: Session): Promise<void> {
  await using images = new Images(session);
  const image = await images.open(options.image, options.registry);
  const { repository, selector } = image;
  const { platform } = options;
  const { signal } = session;
  const { digest, mediaType, size } =
    platform === undefined
      ? await repository.resolve(selector, { signal })
      : await resolvePlatform(image, platform, signal);
  await writeDigestFile(options.digestFile, digest);
  const reference = `${repository.name}@${digest}`;
  session.output({
    json: () => ({ image: options.image, reference, digest, mediaType, size }),
    text: () => (options.fullReference === true ? reference : digest),
  });
}

async function resolvePlatform(
  source: ImageLocation,
  platform: Platform,
  signal: AbortSignal,
): Promise<Descriptor> {
  const manifest = await source.repository.getManifest(source.selector, { signal });
  const [image] = await platformImages(manifest, { source, platforms: [platform], signal });
  if (image === undefined) throw new RangeError('a requested platform without an image is an error');
  const { raw } = image.manifest;
  return { mediaType: raw.mediaType, digest: raw.digest, size: raw.bytes.length };
}

/** Checks whether an image exists. Only "not found" counts as no; any other failure is an error. */
export async function exists(image: string, registry: RegistryFlags, session: Session): Promise<ExitCode> {
  await using images = new Images(session);
  const digest = await findDigest(await images.open(image, registry), session.signal);
  session.output({
    json: () => ({ image, exists: digest !== null, digest }),
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
