import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import { required } from '../output/usage-error.ts';
import { addRegistryFlags, readRegistryFlags } from '../options/registry-flags.ts';
import { fileOption, platformOption } from '../options/values.ts';
import type { Runtime } from '../session/runtime.ts';

/** `kmm-sign extract IMAGE`. */
export function addExtract(root: CommandUnknownOpts, runtime: Runtime): void {
  const command = root
    .command('extract')
    .summary('copy kernel modules out of an image')
    .description('Copies kernel modules out of an image into a directory, under their paths in the image.')
    .argument('<image>', 'the image')
    .addOption(fileOption('only this absolute path or glob; repeatable; default every kernel module'))
    .option('-o, --output <directory>', 'where the files go (required)')
    .addOption(platformOption('of an index, the image for this platform'));
  addRegistryFlags(command);
  command.action((image, options, self) =>
    runtime.perform(async (session) => {
      const directory = required(options.output, '--output');
      const { extract } = await import('../actions/extract.ts');
      return extract({ ...options, image, directory, registry: readRegistryFlags(self) }, session);
    }),
  );
}
