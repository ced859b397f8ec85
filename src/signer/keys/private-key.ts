import { createPrivateKey, type KeyObject } from 'node:crypto';
import { SignerError } from '../model/errors.ts';
import type { KeyMaterial } from './pkcs12.ts';
import { type PassphraseProvider, wrongPassphrase } from './reference.ts';
import { DerError, derChildren, derTag, readDer } from '../cms/der.ts';

/**
 * Reads a private key: PEM or DER, PKCS #1, PKCS #8, SEC 1, encrypted or not, or PKCS #12. `name` is used in
 * messages. @throws SignerError INVALID_KEY, WRONG_PASSPHRASE
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
      message: `${name} contains no private key`,
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
    // OpenSSL's errors contain no secret, but the code is enough and is stable.
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    // One in 256 wrong passphrases yields bytes that look decrypted but are not a key.
    if (passphrase !== undefined) throw wrongPassphrase(name);
    throw new SignerError({
      code: 'INVALID_KEY',
      message: `The private key in ${name} cannot be read (${reason})`,
      hint: 'Keys are read in PEM, DER and PKCS #12; openssl pkey -in FILE -noout shows whether it is one.',
      facts: { reason },
    });
  }
}

/** The encoding of a private key. */
type KeyFormat =
  | { readonly kind: 'pem'; readonly pem: string; readonly encrypted: boolean }
  | { readonly kind: 'der'; readonly type: 'pkcs1' | 'pkcs8' | 'sec1'; readonly encrypted: boolean }
  | { readonly kind: 'pkcs12' };

const pemKey = /-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----[\s\S]*?-----END \1-----/;

/** Detects the format of a private key from its contents; returns null if it is not one. */
function detectKeyFormat(bytes: Buffer): KeyFormat | null {
  return bytes[0] === derTag.sequence ? detectDer(bytes) : detectPem(bytes.toString('latin1'));
}

function detectPem(text: string): KeyFormat | null {
  // The file may also hold the certificate, as the kernel's certs/signing_key.pem does.
  const found = pemKey.exec(text);
  if (found === null) return null;
  const [pem, label] = found;
  return {
    kind: 'pem',
    pem,
    encrypted: label === 'ENCRYPTED PRIVATE KEY' || pem.includes('Proc-Type: 4,ENCRYPTED'),
  };
}

function detectDer(bytes: Buffer): KeyFormat | null {
  try {
    const [first, second] = derChildren(readDer(bytes));
    if (first?.tag === derTag.sequence && second?.tag === derTag.octetString) {
      return { kind: 'der', type: 'pkcs8', encrypted: true };
    }
    if (first?.tag !== derTag.integer || second === undefined) return null;
    if (second.tag === derTag.integer) return { kind: 'der', type: 'pkcs1', encrypted: false };
    if (second.tag === derTag.octetString) return { kind: 'der', type: 'sec1', encrypted: false };
    if (second.tag !== derTag.sequence) return null;
    // Version 3 is PKCS #12 (RFC 7292 section 4); 0 and 1 are PKCS #8 (RFC 5958 section 2).
    return first.content[0] === 3 ? { kind: 'pkcs12' } : { kind: 'der', type: 'pkcs8', encrypted: false };
  } catch (error) {
    if (error instanceof DerError) return null;
    throw error;
  }
}
