import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import { trustedCertificatesOption } from '../options/key-options.ts';
import { addRegistryFlags, readRegistryFlags } from '../options/registry-flags.ts';
import { fileOption, platformsOption } from '../options/values.ts';
import type { Runtime } from '../session/runtime.ts';

/** `kmm-sign inspect IMAGE`. */
export function addInspect(root: CommandUnknownOpts, runtime: Runtime): void {
  const command = root
    .command('inspect')
    .summary('list the kernel modules of an image')
    .description('Lists every kernel module of an image: path, layer, kernel, signer, digest algorithm.')
    .argument('<image>', 'the image')
    .addOption(trustedCertificatesOption('also say which modules this certificate signed; repeatable'))
    .addOption(fileOption('only this absolute path or glob; repeatable; default every kernel module'))
    .addOption(platformsOption('of an index, only this platform; repeatable; default all'));
  addRegistryFlags(command);
  command.action((image, options, self) =>
    runtime.perform(async (session) => {
      const { inspect } = await import('../actions/inspect.ts');
      return inspect({ ...options, image, registry: readRegistryFlags(self) }, session);
    }),
  );
}
