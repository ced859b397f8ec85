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
