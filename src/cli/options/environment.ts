import { commandTree, flattenTree } from '../completion/tree.ts';
import type { CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import { usageError } from '../output/usage-error.ts';

/** Returns the environment variable of an option: `KMM_SIGN_CA_FILE` for `--ca-file`. */
export function environmentVariable(option: Pick<Option, 'long'>): string | null {
  if (option.long === undefined || option.long === '--version') return null;
  return `KMM_SIGN_${option.long.slice(2).replaceAll('-', '_').toUpperCase()}`;
}

/**
 * Sets options that are not on the command line to their values from the environment. Empty variables count
 * as unset.
 * @throws CliError USAGE
 */
export function applyEnvironment(command: CommandUnknownOpts, environment: NodeJS.ProcessEnv): void {
  for (const option of command.options) {
    const variable = environmentVariable(option);
    const text = variable === null ? undefined : environment[variable];
    if (variable === null || text === undefined || text === '') continue;
    if (command.getOptionValueSource(option.attributeName()) === 'cli') continue;
    command.setOptionValueWithSource(option.attributeName(), optionValue(option, variable, text), 'env');
  }
}

function optionValue(option: Option, variable: string, text: string): unknown {
  if (option.negate) return !parseBoolean(variable, text);
  if (!option.required && !option.optional) return parseBoolean(variable, text);
  try {
    if (Array.isArray(option.defaultValue)) return parseList(option, text);
    return option.parseArg === undefined ? text : option.parseArg(text, undefined);
  } catch (error) {
    throw usageError(
      `${variable} is not valid: ${error instanceof Error ? error.message : 'unknown reason'}`,
    );
  }
}

function parseBoolean(variable: string, text: string): boolean {
  if (/^(?:1|true)$/i.test(text)) return true;
  if (/^(?:0|false)$/i.test(text)) return false;
  throw usageError(`${variable} is "${text.slice(0, 40)}"`, 'It takes true, false, 1 or 0.');
}

function parseList(option: Option, text: string): unknown {
  const parts = text.split(/[,\n]/).map((one) => one.trim());
  let values: unknown = [];
  for (const part of parts.filter((one) => one !== '')) {
    values = option.parseArg === undefined ? part : option.parseArg(part, values);
  }
  return values;
}

/** An environment variable and what it is for. */
export interface Variable {
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
  {
    name: 'XDG_CACHE_HOME',
    description: 'directory for what layers contain, and for compiled code; default ~/.cache',
  },
  { name: 'TMPDIR', description: 'directory for temporary files' },
  { name: 'CI', description: 'when set, no progress bars' },
];

/** Returns every environment variable that the program reads. */
export function environmentVariables(root: CommandUnknownOpts): Variable[] {
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
  return [...variables.values(), ...others.map((other) => ({ ...other, option: null, commands: [] }))];
}
