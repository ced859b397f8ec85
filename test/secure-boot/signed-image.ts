import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RegistryClient } from '../../src/registry/image/client.ts';
import { extractModules } from '../../src/signer/extract-image.ts';
import type { Signer } from '../../src/signer/cms/signer.ts';
import type { SignMode } from '../../src/signer/model/report.ts';
import { signImage } from '../../src/signer/sign-image.ts';
import { kernelRelease } from '../support/debian-kernel.ts';
import { storeImage, withParents } from '../support/images.ts';
import { startEmbedded } from '../support/registries.ts';

export interface SignedImageOptions {
  /** Where the modules go. */
  readonly directory: string;
  /** An unsigned module. The image holds it as it is, and packed as .ko.xz by the program xz. */
  readonly module: Buffer;
  readonly xz: string;
  readonly enrolled: Signer;
  readonly stranger: Signer;
}

/** A module to load; `name` says what was done to its image. */
interface NamedModule {
  readonly name: string;
  readonly bytes: Buffer;
}

const plainPath = `lib/modules/${kernelRelease}/extra/hello.ko`;
const packedPath = `lib/modules/${kernelRelease}/extra/packed.ko.xz`;

/**
 * Signs an image in a registry in both modes, and with a key that nobody knows, and takes the modules out of
 * what is in the registry then: `rewrite: plain`, `append: packed`, `stranger: plain`, `source: packed` …
 */
export async function modulesOfSignedImages(options: SignedImageOptions): Promise<NamedModule[]> {
  await using registry = await startEmbedded();
  const client = new RegistryClient({ plainHttp: true, credentials: {} });
  try {
    const open = (repository: string) => client.repository({ registry: registry.host, repository });
    const source = open('vendor/driver');
    const packed = execFileSync(options.xz, ['--check=crc32', '--lzma2=dict=1MiB', '-c'], {
      input: options.module,
    });
    const entries = [...withParents(plainPath, options.module), { name: packedPath, content: packed }];
    await storeImage(source, { layers: [{ entries }] }, 'source');
    const sign = (tag: string, signer: Signer, mode: SignMode) =>
      signImage({
        source: { repository: source, selector: { tag: 'source' } },
        destination: { repository: source, tag },
        signer,
        mode,
      });
    await sign('rewrite', options.enrolled, 'rewrite');
    await sign('append', options.enrolled, 'append');
    await sign('stranger', options.stranger, 'rewrite');
    const modules: NamedModule[] = [];
    for (const tag of ['source', 'rewrite', 'append', 'stranger']) {
      const directory = join(options.directory, tag);
      await extractModules({ image: { repository: source, selector: { tag } }, directory });
      const unpacked = execFileSync(options.xz, ['-dc', join(directory, packedPath)]);
      modules.push(
        { name: `${tag}: plain`, bytes: await readFile(join(directory, plainPath)) },
        { name: `${tag}: packed`, bytes: unpacked },
      );
    }
    return modules;
  } finally {
    await client.close();
  }
}
