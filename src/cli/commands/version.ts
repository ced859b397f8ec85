import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import type { Runtime } from '../session/runtime.ts';
import { version } from '../output/version.ts';

/** `kmm-sign version`. */
export function addVersion(root: CommandUnknownOpts, runtime: Runtime): void {
  root
    .command('version')
    .summary('print the version')
    .description('Prints the versions of the program and of Node.')
    .action(() =>
      runtime.perform((session) => {
        const facts = {
          version,
          node: process.versions.node,
          openssl: process.versions.openssl,
          platform: `${process.platform}/${process.arch}`,
        };
        session.output({ json: () => facts, text: () => version });
        return Promise.resolve();
      }),
    );
}
