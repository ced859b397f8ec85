import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import { commandTree, flattenTree } from '../completion/tree.ts';
import { environmentVariable } from '../options/environment.ts';
import { table } from '../output/text.ts';
import type { Session } from '../session/session.ts';

/** An environment variable and what it is for. */
interface Variable {
  readonly name: string;
  readonly option: string | null;
  readonly description: string;
  /** Commands that read it; empty for all. */
  readonly commands: string[];
}

/** Variables that do not correspond to an option. */
const others: readonly Omit<Variable, 'option' | 'commands'>[] = [
  { name: 'KMM_SIGN_PASSWORD', description: 'passphrase of the private key' },
  { name: 'KBUILD_SIGN_PIN', description: 'passphrase of the private key, as the kernel build names it' },
  { name: 'SOURCE_DATE_EPOCH', description: 'timestamp of new entries, in seconds since 1970' },
  { name: 'REGISTRY_AUTH_FILE', description: 'credentials: path of an auth file' },
  { name: 'DOCKER_AUTH_CONFIG', description: 'credentials: the JSON of a docker configuration' },
  { name: 'DOCKER_CONFIG', description: "credentials: directory of docker's config.json" },
  { name: 'HTTPS_PROXY', description: 'proxy for HTTPS, also HTTP_PROXY; NO_PROXY lists exceptions' },
  { name: 'TMPDIR', description: 'directory for temporary files' },
  { name: 'CI', description: 'when set, no progress bars' },
];

/** Prints every environment variable that the program reads. */
export function listEnvironment(root: CommandUnknownOpts, session: Session): void {
  const variables = new Map<string, Variable>();
  for (const { path, options } of flattenTree(commandTree(root))) {
    for (const option of options) {
      const name = environmentVariable(option);
      if (name === null) continue;
      const known = variables.get(name) ?? {
        name,
        option: option.long ?? null,
        description: option.description,
        commands: [],
      };
      if (path !== '') known.commands.push(path);
      variables.set(name, known);
    }
  }
  const all = [...variables.values(), ...others.map((other) => ({ ...other, option: null, commands: [] }))];
  session.output({
    json: () => ({ variables: all }),
    text: () => table(all.map(({ name, option, description }) => [name, option ?? '-', description])),
  });
}
