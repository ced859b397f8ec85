import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import type { Runtime } from '../session/runtime.ts';

/** `kmm-sign env`. */
export function addEnv(root: CommandUnknownOpts, runtime: Runtime): void {
  root
    .command('env')
    .summary('list the environment variables')
    .description('Lists every environment variable that the program reads, and what it stands for.')
    .action(() =>
      runtime.perform(async (session) => {
        const { listEnvironment } = await import('../actions/env.ts');
        listEnvironment(root, session);
      }),
    );
}
