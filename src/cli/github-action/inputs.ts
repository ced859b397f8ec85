import { existsSync } from 'node:fs';
import { usageError } from '../output/usage-error.ts';

/** A command of the program, as the inputs of the action describe it. */
export interface ActionCommand {
  readonly mode: 'sign' | 'verify';
  readonly args: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  /** Values that must not appear in the log of the job. */
  readonly secrets: readonly string[];
}

/** Variables that contain a key or a certificate given as an input, for `env://`. */
const keyVariable = 'KMM_SIGN_INPUT_KEY';
const certificateVariable = 'KMM_SIGN_INPUT_CERTIFICATE';

/** Variables with a passphrase that the program reads. */
const passphraseVariables = ['KMM_SIGN_PASSWORD', 'KBUILD_SIGN_PIN'] as const;

const reference = /^(?:env|k8s|file):\/\//;
/** PEM, or PEM or DER in base64. */
const keyText = /-----BEGIN |^[A-Za-z0-9+/=\s]{64,}$/;

/**
 * Translates the inputs of the action (`INPUT_…` variables) to a command. All else of the environment is left to the
 * program, so that its `KMM_SIGN_…` variables work in a step too.
 * @throws CliError USAGE
 */
export function readCommand(environment: NodeJS.ProcessEnv): ActionCommand {
  const input = (name: string): string => (environment[`INPUT_${name.toUpperCase()}`] ?? '').trim();
  const mode = input('mode') || 'sign';
  if (mode !== 'sign' && mode !== 'verify')
    throw usageError('The input mode is neither sign nor verify', 'Leave it out to sign.');
  const key = keyInput(input('key'), { name: 'key', variable: keyVariable });
  const certificate = keyInput(input('certificate'), { name: 'certificate', variable: certificateVariable });
  const options = [
    '--format=json',
    ...option('--timeout', input('timeout')),
    ...option('--cert', certificate.reference),
    ...lines(input('files')).map((pattern) => `--file=${pattern}`),
    ...lines(input('platforms').replaceAll(',', '\n')).map((platform) => `--platform=${platform}`),
  ];
  const images = [requiredInput(input, 'source')];
  if (mode === 'sign') {
    images.push(requiredInput(input, 'destination'));
    options.push(
      ...option('--key', key.reference),
      ...option('--hash', input('hash')),
      ...option('--mode', input('layers')),
      ...option('--existing', input('existing')),
      ...flag('--read-back', 'read-back', input('read-back')),
      ...flag('--dry-run', 'dry-run', input('dry-run')),
    );
  }
  return {
    mode,
    args: [mode, ...options, '--', ...images],
    environment: { ...withoutInputs(environment), ...key.environment, ...certificate.environment },
    secrets: secretsOf(environment, key),
  };
}

interface KeyInput {
  readonly reference: string;
  /** What `env://` finds there. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Returns the reference to a key or certificate, which is handed on in the environment if it is the input itself. */
function keyInput(text: string, { name, variable }: { name: string; variable: string }): KeyInput {
  if (text === '' || reference.test(text) || existsSync(text)) return { reference: text, environment: {} };
  if (keyText.test(text)) return { reference: `env://${variable}`, environment: { [variable]: text } };
  // It is not quoted: it may be a secret that was damaged on its way.
  throw usageError(
    `The input ${name} is neither an existing file, nor env://NAME, nor PEM or base64`,
    `Give it as \${{ secrets.NAME }}, or check the path.`,
  );
}

function secretsOf(environment: NodeJS.ProcessEnv, key: KeyInput): string[] {
  const [, variable] = /^env:\/\/(.+)$/.exec(key.reference) ?? [];
  const values = [
    ...(variable === undefined ? [] : [key.environment[variable] ?? environment[variable]]),
    ...passphraseVariables.map((name) => environment[name]),
  ];
  return values.flatMap((value) => (value === undefined || value === '' ? [] : [value]));
}

/** The inputs are translated, and the program does not need them. */
function withoutInputs(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith('INPUT_')));
}

function requiredInput(input: (name: string) => string, name: string): string {
  const value = input(name);
  if (value === '') throw usageError(`The input ${name} is required`, 'Add it to the `with:` of the step.');
  return value;
}

/** With `=`, a value that begins with a dash is not taken for an option. */
function option(name: string, value: string): string[] {
  return value === '' ? [] : [`${name}=${value}`];
}

function flag(name: string, input: string, value: string): string[] {
  if (/^true$/i.test(value)) return [name];
  if (value === '' || /^false$/i.test(value)) return [];
  throw usageError(`The input ${input} is neither true nor false`);
}

function lines(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}
