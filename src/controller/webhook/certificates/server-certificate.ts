import { generateKeyPair, type KeyObject } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import { promisify } from 'node:util';
import { Secret } from '../../../shared/secret.ts';
import { der, derObjectIdentifier, derTag } from '../../../signer/cms/der.ts';
import {
  encodeCertificate,
  extensionIdentifier,
  type CertificateExtension,
} from '../../../signer/cms/encode-certificate.ts';

/** The certificate and key of a TLS server. */
export interface ServerCertificate {
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS #8. */
  readonly key: Secret<string>;
}

/** A certificate and the authority that signed it, and that will never sign another. */
export interface IssuedCertificate extends ServerCertificate {
  /** PEM. */
  readonly authority: string;
}

const serverAuthentication = '1.3.6.1.5.5.7.3.1';
const context = { dnsName: 0x82, ipAddress: 0x87 } as const;
const maxCommonNameLength = 64;

/** Key usage bits of RFC 5280 section 4.2.1.3, preceded by the number of unused bits. */
const usage = { digitalSignature: [7, 0x80], signCertificates: [2, 0x04] } as const;

/**
 * Creates an authority, and a certificate signed by it for a TLS server. The authority's private key is
 * discarded at once: whoever trusts the authority trusts only this certificate.
 * @param names DNS names and IP addresses of the server; the first is also the subject's name
 */
export async function createServerCertificate(
  names: readonly string[],
  notBefore: Date,
  notAfter: Date,
): Promise<IssuedCertificate> {
  const [authorityKey, serverKey] = [await createKey(), await createKey()];
  const commonName = (names[0] ?? 'server').slice(0, maxCommonNameLength);
  const issuer = { commonName, organization: 'kmm-operator' };
  const validity = { issuer, notBefore, notAfter };
  const authority = encodeCertificate(
    { ...validity, subject: issuer, subjectKey: authorityKey, extensions: authorityExtensions() },
    authorityKey,
  );
  const certificate = encodeCertificate(
    { ...validity, subject: { commonName }, subjectKey: serverKey, extensions: serverExtensions(names) },
    authorityKey,
  );
  return {
    authority: toPem(authority),
    certificate: toPem(certificate),
    key: new Secret(serverKey.export({ format: 'pem', type: 'pkcs8' })),
  };
}

async function createKey(): Promise<KeyObject> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
  return privateKey;
}

function authorityExtensions(): CertificateExtension[] {
  const isAuthority = der(derTag.sequence, der(derTag.boolean, Buffer.from([0xff])));
  return [
    { identifier: extensionIdentifier.basicConstraints, critical: true, value: isAuthority },
    keyUsage(usage.signCertificates),
  ];
}

function serverExtensions(names: readonly string[]): CertificateExtension[] {
  return [
    { identifier: extensionIdentifier.basicConstraints, critical: true, value: der(derTag.sequence) },
    keyUsage(usage.digitalSignature),
    {
      identifier: extensionIdentifier.extendedKeyUsage,
      value: der(derTag.sequence, derObjectIdentifier(serverAuthentication)),
    },
    {
      identifier: extensionIdentifier.subjectAlternativeName,
      value: der(derTag.sequence, ...names.map(encodeName)),
    },
  ];
}

function keyUsage(bits: readonly number[]): CertificateExtension {
  return {
    identifier: extensionIdentifier.keyUsage,
    critical: true,
    value: der(derTag.bitString, Buffer.from(bits)),
  };
}

function encodeName(name: string): Buffer {
  if (isIPv4(name)) return der(context.ipAddress, Buffer.from(name.split('.').map(Number)));
  if (isIPv6(name)) return der(context.ipAddress, ipv6Bytes(name));
  return der(context.dnsName, Buffer.from(name, 'latin1'));
}

function ipv6Bytes(address: string): Buffer {
  // The URL parser normalizes it: groups of hexadecimal digits, `::` at most once.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const [before = [], after = []] = [head, tail].map((text = '') => text.split(':').filter(Boolean));
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  return Buffer.from([...before, ...zeros, ...after].map((group) => group.padStart(4, '0')).join(''), 'hex');
}

function toPem(bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}
