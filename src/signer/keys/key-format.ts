import { DerError, derChildren, derTag, readDer } from '../cms/der.ts';

/** How a private key is written. */
export type KeyFormat =
  | { readonly kind: 'pem'; readonly pem: string; readonly encrypted: boolean }
  | { readonly kind: 'der'; readonly type: 'pkcs1' | 'pkcs8' | 'sec1'; readonly encrypted: boolean }
  | { readonly kind: 'pkcs12' };

const pemKey = /-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----[\s\S]*?-----END \1-----/;

/** Tells the format of a private key by its contents; null when it is none. */
export function detectKeyFormat(bytes: Buffer): KeyFormat | null {
  return bytes[0] === derTag.sequence ? detectDer(bytes) : detectPem(bytes.toString('latin1'));
}

function detectPem(text: string): KeyFormat | null {
  // A file may hold the certificate as well, as the kernel's certs/signing_key.pem does.
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
