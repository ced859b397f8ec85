import type { Platform } from '../../registry/model/platform.ts';
import { extractModules } from '../../signer/extract-image.ts';
import { Images } from '../session/open-image.ts';
import type { RegistryFlags } from '../options/registry-flags.ts';
import { given } from '../options/values.ts';
import { printable } from '../../shared/printable.ts';
import { count, formatBytes, table } from '../output/text.ts';
import type { Session } from '../session/session.ts';

export interface ExtractOptions {
  readonly image: string;
  readonly registry: RegistryFlags;
  readonly directory: string;
  readonly file: readonly string[];
  readonly platform?: Platform | undefined;
}

/** Copies modules out of an image. */
export async function extract(options: ExtractOptions, session: Session): Promise<void> {
  await using images = new Images(session);
  const image = await images.open(options.image, options.registry);
  const { files } = await extractModules({
    image,
    files: given(options.file),
    platform: options.platform,
    directory: options.directory,
    signal: session.signal,
  });
  session.output({
    json: () => ({ image: options.image, files }),
    text: () =>
      [
        table(files.map(({ path, target, size }) => [printable(path), printable(target), formatBytes(size)])),
        `Extracted ${count(files.length, 'file')}`,
      ].join('\n'),
  });
}
