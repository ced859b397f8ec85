import { Option, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { required } from '../output/usage-error.ts';
import type { Runtime } from '../session/runtime.ts';

/** `kmm-sign registry`. */
export function addRegistry(root: CommandUnknownOpts, runtime: Runtime): void {
  root
    .command('registry')
    .summary('run the embedded registry')
    .description(
      'Runs a registry (OCI distribution-spec) on a directory, until it is interrupted. The directory has to be empty, ' +
        'new, or one that a registry has used before; one registry at a time may use it.',
    )
    .option('--root <directory>', 'where its content is kept (required)')
    .addOption(new Option('--listen <address>', 'address and port').default('127.0.0.1:5000'))
    .option('--htpasswd <file>', 'let only the users of this file in (bcrypt hashes)')
    .option('--tls-cert-file <file>', 'serve HTTPS with this certificate')
    .option('--tls-key-file <file>', 'private key of --tls-cert-file')
    .action((options) =>
      runtime.perform(async (session) => {
        const directory = required(options.root, '--root');
        const { serveRegistry } = await import('../actions/registry.ts');
        return serveRegistry({ ...options, directory }, session);
      }),
    );
}
