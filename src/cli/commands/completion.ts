import { Argument, type CommandUnknownOpts } from '@commander-js/extra-typings';
import type { Runtime } from '../session/runtime.ts';

/** `kmm-sign completion SHELL`. */
export function addCompletion(root: CommandUnknownOpts, runtime: Runtime): void {
  root
    .command('completion')
    .summary('print a completion script')
    .description(
      'Prints a script that completes commands and options, such as: source <(kmm-sign completion bash)',
    )
    .addArgument(new Argument('<shell>', 'bash, zsh or fish').choices(['bash', 'zsh', 'fish'] as const))
    .action((shell) =>
      runtime.perform(async () => {
        const { completionScript } = await import('../completion/script.ts');
        process.stdout.write(completionScript(root, shell));
      }),
    );
}
