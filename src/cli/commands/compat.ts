import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import type { Runtime } from '../session/runtime.ts';

/** `kmm-sign compat signimage`. */
export function addCompat(root: CommandUnknownOpts, runtime: Runtime): void {
  const compat = root
    .command('compat')
    .summary('take the command lines of other programs')
    .description('Takes the command lines of other programs.');
  compat
    .command('signimage')
    .summary("take the flags of KMM's signimage")
    .description("Signs an image as told by the flags of KMM's signimage; -help lists them.")
    .argument('[flags...]', 'flags of signimage, with one dash or two')
    .action((flags) =>
      runtime.perform(async (session) => {
        const { compatSignimage } = await import('../actions/compat-signimage.ts');
        return compatSignimage(flags, session);
      }),
    );
}
