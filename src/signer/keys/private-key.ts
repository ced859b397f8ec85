import { createPrivateKey, type KeyObject } from 'node:crypto';
import { SignerError } from '../model/errors.ts';
import type { KeyMaterial } from './key-material.ts';
import { detectKeyFormat, type KeyFormat } from './key-format.ts';
import { type PassphraseProvider, wrongPassphrase } from './passphrase.ts';

/**
 * Reads a private key: PEM or DER, PKCS #1, PKCS #8, SEC 1, encrypted or not, or PKCS #12.
 * `name` is for messages. @throws SignerError INVALID_KEY, WRONG_PASSPHRASE
 */
export async function parseKeyMaterial(
  bytes: Buffer,
  name: string,
  passphrase: PassphraseProvider,
): Promise<KeyMaterial> {
  const format = detectKeyFormat(bytes);
  if (format === null) {
    throw new SignerError({
      code: 'INVALID_KEY',
      message: `${name} holds no private key`,
      hint: 'Keys are read in PEM or DER: PKCS #1, PKCS #8, SEC 1 or PKCS #12.',
    });
  }
  if (format.kind === 'pkcs12') {
    const { readPkcs12 } = await import('./pkcs12.ts');
    return readPkcs12(bytes, name, (await passphrase())?.reveal());
  }
  const secret = format.encrypted ? await requirePassphrase(name, passphrase) : undefined;
  return { privateKey: parse(bytes, format, name, secret), certificate: null };
}

async function requirePassphrase(name: string, passphrase: PassphraseProvider): Promise<string> {
  const secret = await passphrase();
  if (secret !== undefined) return secret.reveal();
  throw new SignerError({
    code: 'WRONG_PASSPHRASE',
    message: `The key ${name} is encrypted and no passphrase was given`,
    hint: 'Put it into KMM_SIGN_PASSWORD or KBUILD_SIGN_PIN, or into a file.',
  });
}

function parse(
  bytes: Buffer,
  format: Exclude<KeyFormat, { kind: 'pkcs12' }>,
  name: string,
  passphrase: string | undefined,
): KeyObject {
  const secret = passphrase === undefined ? {} : { passphrase };
  try {
    return format.kind === 'pem'
      ? createPrivateKey({ key: format.pem, format: 'pem', ...secret })
      : createPrivateKey({ key: bytes, format: 'der', type: format.type, ...secret });
  } catch (error) {
    // OpenSSL's errors name no secret, but the code says enough and is stable.
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    // Of 256 wrong passphrases one yields bytes that look decrypted, and are no key of any kind.
    if (passphrase !== undefined) throw wrongPassphrase(name);
    throw new SignerError({
      code: 'INVALID_KEY',
      message: `The private key in ${name} cannot be read (${reason})`,
      hint: 'Keys are read in PEM, DER and PKCS #12; openssl pkey -in FILE -noout shows whether it is one.',
      facts: { reason },
    });
  }
}
