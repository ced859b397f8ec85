import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import type { Runtime } from '../session/runtime.ts';

/** `kmm-sign demo`. */
export function addDemo(root: CommandUnknownOpts, runtime: Runtime): void {
  root
    .command('demo')
    .summary('show the whole story with a real kernel module')
    .description(
      'Starts the embedded registry, makes a key, pushes an image with a real kernel module, signs it, verifies it, ' +
        'and shows what changed. Needs nothing and leaves nothing behind.',
    )
    .option('--keep <directory>', 'put the registry, key and certificate here and leave them')
    .action((options) =>
      runtime.perform(async (session) => {
        const { demo } = await import('../actions/demo.ts');
        return demo(options, session);
      }),
    );
}
