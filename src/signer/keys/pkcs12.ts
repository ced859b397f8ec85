import { createPrivateKey, type KeyObject } from 'node:crypto';
import forge from 'node-forge';
import { SignerError } from '../model/errors.ts';
import { wrongPassphrase } from './reference.ts';

/**
 * Reads a PKCS #12 container (RFC 7292) that holds one private key. Imported only when needed, because
 * node-forge is large. @throws SignerError INVALID_KEY, WRONG_PASSPHRASE
 */
export function readPkcs12(bytes: Buffer, name: string, passphrase: string | undefined): KeyMaterial {
  const container = open(bytes, name, passphrase);
  const bags = container.safeContents.flatMap(({ safeBags }) => safeBags);
  const keys = bags.filter(
    ({ type }) => type === forge.pki.oids.pkcs8ShroudedKeyBag || type === forge.pki.oids.keyBag,
  );
  const [key] = keys;
  if (key === undefined || keys.length > 1) {
    throw new SignerError({
      code: 'INVALID_KEY',
      message: `${name} contains ${keys.length} private keys, not one`,
      hint: 'Export the one to sign with: openssl pkcs12 -export -inkey KEY -in CERTIFICATE.',
    });
  }
  const privateKey = createPrivateKey({ key: keyDer(key, name), format: 'der', type: 'pkcs8' });
  const identifier = localKeyIdentifier(key);
  const certificates = bags.filter(({ type }) => type === forge.pki.oids.certBag);
  const own = certificates.find((bag) => identifier !== undefined && localKeyIdentifier(bag) === identifier);
  const certificate = own ?? certificates[0];
  return { privateKey, certificate: certificate === undefined ? null : certificateDer(certificate) };
}

function open(bytes: Buffer, name: string, passphrase: string | undefined): forge.pkcs12.Pkcs12Pfx {
  try {
    const asn1 = forge.asn1.fromDer(bytes.toString('binary'));
    return /^[\x20-\x7e]*$/.test(passphrase ?? '')
      ? forge.pkcs12.pkcs12FromAsn1(asn1, passphrase ?? '')
      : openBeyondAscii(asn1, passphrase ?? '');
  } catch (error) {
    const reason = error instanceof Error ? error.message : '';
    if (/password|MAC could not be verified|decrypt/i.test(reason)) throw wrongPassphrase(name);
    throw new SignerError({
      code: 'INVALID_KEY',
      message: `The PKCS #12 container ${name} cannot be read`,
      hint: 'Convert it with: openssl pkcs12 -in FILE -nodes',
    });
  }
}

/**
 * Opens a container whose passphrase is not ASCII. The current scheme (PBES2) uses the passphrase in UTF-8,
 * the legacy one in UTF-16. node-forge leaves the encoding for PBES2 to its caller, but then its check of the
 * container's MAC, which always uses UTF-16, cannot succeed and is skipped. A wrong passphrase is detected on
 * decryption.
 */
function openBeyondAscii(asn1: forge.asn1.Asn1, passphrase: string): forge.pkcs12.Pkcs12Pfx {
  try {
    return forge.pkcs12.pkcs12FromAsn1(asn1, passphrase);
  } catch {
    const withoutMac = { ...asn1, value: Array.isArray(asn1.value) ? asn1.value.slice(0, 2) : asn1.value };
    return forge.pkcs12.pkcs12FromAsn1(withoutMac, forge.util.encodeUtf8(passphrase));
  }
}

function keyDer(bag: forge.pkcs12.Bag, name: string): Buffer {
  // Bags with keys that node-forge does not support (elliptic curves) are returned as ASN.1.
  const asn1 = bag.key ? forge.pki.wrapRsaPrivateKey(forge.pki.privateKeyToAsn1(bag.key)) : bag.asn1;
  if (!asn1)
    throw new SignerError({ code: 'INVALID_KEY', message: `The private key in ${name} cannot be read` });
  return toBuffer(asn1);
}

function certificateDer(bag: forge.pkcs12.Bag): Buffer | null {
  const asn1 = bag.cert ? forge.pki.certificateToAsn1(bag.cert) : bag.asn1;
  return asn1 ? toBuffer(asn1) : null;
}

function localKeyIdentifier(bag: forge.pkcs12.Bag): string | undefined {
  const attributes: { readonly localKeyId?: readonly string[] } = bag.attributes ?? {};
  return attributes.localKeyId?.[0];
}

function toBuffer(asn1: forge.asn1.Asn1): Buffer {
  return Buffer.from(forge.asn1.toDer(asn1).getBytes(), 'binary');
}

/** A private key and, if its container holds one, its certificate in DER. */
export interface KeyMaterial {
  readonly privateKey: KeyObject;
  readonly certificate: Buffer | null;
}
