import { Secret } from '../../shared/secret.ts';
import { readFileOf } from './reference.ts';

/** Gives the passphrase of an encrypted key; asked only when one is needed. */
export type PassphraseProvider = () => Promise<Secret<string> | undefined>;

/** Environment variables that may hold a passphrase: ours, and that of the kernel's build. */
const variables = ['KMM_SIGN_PASSWORD', 'KBUILD_SIGN_PIN'];

/** Looks for a passphrase in a file (one line end is not part of it), else in the environment. */
export function passphraseFrom(sources: {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly file?: string | undefined;
}): PassphraseProvider {
  return async () => {
    if (sources.file !== undefined) {
      const text = (await readFileOf(sources.file, 'key')).toString('utf8');
      return new Secret(text.replace(/\r?\n$/, ''));
    }
    const name = variables.find((variable) => sources.env[variable] !== undefined);
    const value = name === undefined ? undefined : sources.env[name];
    return value === undefined ? undefined : new Secret(value);
  };
}
