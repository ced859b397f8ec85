import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import { addRegistryFlags, readRegistryFlags } from '../options/registry-flags.ts';
import type { Runtime } from '../session/runtime.ts';

/** `kmm-sign exists IMAGE`. */
export function addExists(root: CommandUnknownOpts, runtime: Runtime): void {
  const command = root
    .command('exists')
    .summary('tell whether an image exists')
    .description(
      'Tells whether an image exists: exit code 0 if it does, 3 if the registry says that it does not. ' +
        'Whatever keeps the registry from answering is an error with another exit code.',
    )
    .argument('<image>', 'the image');
  addRegistryFlags(command);
  command.action((image, _, self) =>
    runtime.perform(async (session) => {
      const { exists } = await import('../actions/exists.ts');
      return exists({ image, registry: readRegistryFlags(self) }, session);
    }),
  );
}
