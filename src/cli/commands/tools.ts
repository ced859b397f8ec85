import { Argument, type CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import { environmentVariables } from '../options/environment.ts';
import { table } from '../output/text.ts';
import { required } from '../output/usage-error.ts';
import { versionFacts, versionText } from '../output/version.ts';
import type { Runtime } from '../session/runtime.ts';

/** `kmm-sign registry`. */
export function addRegistry(root: CommandUnknownOpts, runtime: Runtime): void {
  root
    .command('registry')
    .summary('run the embedded registry')
    .description(
      'Runs a registry (OCI distribution-spec) on a directory, until it is interrupted. The directory must be empty, ' +
        'new, or one that a registry has used before; one registry at a time may use it.',
    )
    .option('--root <directory>', 'directory for its content (required)')
    .addOption(new Option('--listen <address>', 'address and port').default('127.0.0.1:5000'))
    .option('--htpasswd <file>', 'allow only the users in this file (bcrypt hashes)')
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

/** `kmm-sign demo`. */
export function addDemo(root: CommandUnknownOpts, runtime: Runtime): void {
  root
    .command('demo')
    .summary('demonstrate signing with a real kernel module')
    .description(
      'Starts the embedded registry, creates a key, pushes an image with a real kernel module, signs it, verifies it, ' +
        'and shows what changed. Needs nothing and leaves nothing behind.',
    )
    .option('--keep <directory>', 'keep the registry, key and certificate in this directory')
    .action((options) =>
      runtime.perform(async (session) => {
        const { demo } = await import('../demo/demo.ts');
        return demo(options, session);
      }),
    );
}

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

/** `kmm-sign env`. */
export function addEnv(root: CommandUnknownOpts, runtime: Runtime): void {
  root
    .command('env')
    .summary('list the environment variables')
    .description('Lists every environment variable that the program reads, and what it is for.')
    .action(() =>
      runtime.perform(async (session) => {
        const variables = environmentVariables(root);
        session.output({
          json: () => ({ variables }),
          text: () =>
            table(variables.map(({ name, option, description }) => [name, option ?? '-', description])),
        });
      }),
    );
}

/** `kmm-sign version`. */
export function addVersion(root: CommandUnknownOpts, runtime: Runtime): void {
  root
    .command('version')
    .summary('print the version')
    .description(
      'Prints the version of the program and the commit that it was built from; as JSON, Node too.',
    )
    .action(() =>
      runtime.perform((session) => {
        session.output({ json: versionFacts, text: versionText });
        return Promise.resolve();
      }),
    );
}
