import { usageError } from '../output/usage-error.ts';

/** The flags of a program: those with a value, and booleans. */
export interface GoFlagSet {
  readonly values: readonly string[];
  readonly booleans: readonly string[];
  /** The command that shows their help. */
  readonly helpCommand: string;
  /** Advice on flags known from other programs, by name. */
  readonly advice?: Readonly<Record<string, string>>;
}

/** The flags found on a command line. */
export interface GoFlags {
  readonly values: ReadonlyMap<string, string>;
  readonly booleans: ReadonlySet<string>;
  readonly help: boolean;
}

const trueValues = new Set(['1', 't', 'T', 'true', 'TRUE', 'True']);
const falseValues = new Set(['0', 'f', 'F', 'false', 'FALSE', 'False']);

/**
 * Parses a command line as Go's package `flag` does: one dash or two, `-flag value` and `-flag=value`,
 * booleans only with `=`; the last occurrence counts.
 * @throws CliError USAGE
 */
export function parseGoFlags(args: readonly string[], known: GoFlagSet): GoFlags {
  const values = new Map<string, string>();
  const booleans = new Set<string>();
  let help = false;
  const rest = [...args];
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    const { name, value } = splitFlag(argument, known.helpCommand);
    if (known.booleans.includes(name)) {
      if (parseBoolean(name, value ?? 'true')) booleans.add(name);
      else booleans.delete(name);
    } else if (known.values.includes(name)) {
      const text = value ?? rest.shift();
      if (text === undefined) throw usageError(`Flag -${name} needs a value`);
      values.set(name, text);
    } else if (name === 'h' || name === 'help') {
      help = true;
    } else {
      throw usageError(`Flag -${name} is not known`, adviceOf(name, known));
    }
  }
  return { values, booleans, help };
}

function adviceOf(name: string, { advice = {}, helpCommand }: GoFlagSet): string {
  const known = Object.hasOwn(advice, name) ? advice[name] : undefined;
  return known ?? `See ${helpCommand}.`;
}

function splitFlag(argument: string, helpCommand: string): { name: string; value: string | undefined } {
  const [, name, value] = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(argument) ?? [];
  if (name === undefined) throw usageError(`"${argument}" is not a flag`, `See ${helpCommand}.`);
  return { name, value };
}

function parseBoolean(name: string, text: string): boolean {
  if (trueValues.has(text)) return true;
  if (falseValues.has(text)) return false;
  throw usageError(`Flag -${name} is true or false, not "${text}"`);
}
