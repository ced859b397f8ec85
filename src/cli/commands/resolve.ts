import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import { addRegistryFlags, readRegistryFlags } from '../options/registry-flags.ts';
import { platformOption } from '../options/values.ts';
import type { Runtime } from '../session/runtime.ts';

/** `kmm-sign resolve IMAGE`. */
export function addResolve(root: CommandUnknownOpts, runtime: Runtime): void {
  const command = root
    .command('resolve')
    .summary('print the digest of an image')
    .description('Prints the digest that a tag stands for.')
    .argument('<image>', 'the image')
    .addOption(platformOption('of an index, the digest of the image for this platform'))
    .option('--full-reference', 'print the name too, as NAME@sha256:…')
    .option('--digest-file <file>', 'also write the digest to a file, without a newline');
  addRegistryFlags(command);
  command.action((image, options, self) =>
    runtime.perform(async (session) => {
      const { resolve } = await import('../actions/resolve.ts');
      return resolve({ image, registry: readRegistryFlags(self), ...options }, session);
    }),
  );
}
