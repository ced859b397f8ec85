import { Secret } from '../../shared/secret.ts';
import { SignerError } from '../model/errors.ts';
import { readFileOf } from './reference.ts';

/** Returns the passphrase of an encrypted key; called only if one is needed. */
export type PassphraseProvider = () => Promise<Secret<string> | undefined>;

/** Environment variables that may hold a passphrase: ours, and that of the kernel build. */
const variables = ['KMM_SIGN_PASSWORD', 'KBUILD_SIGN_PIN'];

/** Reads the passphrase from a file (without one trailing line break), or else from the environment. */
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

/** Returns the error for a passphrase that does not open the key. */
export function wrongPassphrase(name: string): SignerError {
  return new SignerError({
    code: 'WRONG_PASSPHRASE',
    message: `The passphrase does not open ${name}`,
    hint: 'The passphrase comes from a file, KMM_SIGN_PASSWORD or KBUILD_SIGN_PIN, in this order; openssl pkey -in FILE -noout shows whether it opens the key.',
  });
}
