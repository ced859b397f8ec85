import { createHash, createPublicKey, randomBytes, sign, type KeyObject } from 'node:crypto';
import { certificateSignatureAlgorithm } from './algorithms.ts';
import { der, derObjectIdentifier, derTag, derUnsignedInteger, DerSequence, readDer } from './der.ts';

/** The subject or issuer of a certificate. */
export interface CertificateName {
  readonly commonName: string;
  readonly organization?: string | undefined;
}

/** An extension of a certificate. `value` is DER. */
export interface CertificateExtension {
  readonly identifier: string;
  readonly critical?: boolean;
  readonly value: Buffer;
}

/** The contents of a certificate. */
export interface CertificateContents {
  readonly subject: CertificateName;
  readonly issuer: CertificateName;
  /** Public or private; of a private key, the public half is used. RSA or elliptic curve. */
  readonly subjectKey: KeyObject;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly extensions: readonly CertificateExtension[];
}

/** Extensions defined by RFC 5280. */
export const extensionIdentifier = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;

const attribute = { commonName: '2.5.4.3', organization: '2.5.4.10' } as const;
const criticalTrue = der(derTag.boolean, Buffer.from([0xff]));

/** Creates a DER certificate (RFC 5280), signed by `issuerKey` with SHA-256. Adds key identifiers. */
export function encodeCertificate(contents: CertificateContents, issuerKey: KeyObject): Buffer {
  const algorithm = certificateSignatureAlgorithm(
    issuerKey.asymmetricKeyType === 'rsa' ? 'rsa' : 'ecdsa',
    'sha256',
  );
  const toBeSigned = encodeToBeSigned(contents, publicKeyInfo(issuerKey), algorithm);
  return der(derTag.sequence, toBeSigned, algorithm, bitString(sign('sha256', toBeSigned, issuerKey)));
}

function encodeToBeSigned(contents: CertificateContents, issuerKey: Buffer, algorithm: Buffer): Buffer {
  const subjectKey = publicKeyInfo(contents.subjectKey);
  return der(
    derTag.sequence,
    der(0xa0, der(derTag.integer, Buffer.from([2]))),
    serialNumber(),
    algorithm,
    encodeName(contents.issuer),
    der(derTag.sequence, encodeTime(contents.notBefore), encodeTime(contents.notAfter)),
    encodeName(contents.subject),
    subjectKey,
    der(0xa3, encodeExtensions(contents.extensions, subjectKey, issuerKey)),
  );
}

/** Encodes a number of 159 random bits: positive, at most 20 octets long (RFC 5280 section 4.1.2.2). */
function serialNumber(): Buffer {
  const bytes = randomBytes(20);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return derUnsignedInteger(bytes);
}

function encodeName({ organization, commonName }: CertificateName): Buffer {
  const parts = [
    ...(organization === undefined ? [] : [encodeAttribute(attribute.organization, organization)]),
    encodeAttribute(attribute.commonName, commonName),
  ];
  return der(derTag.sequence, ...parts);
}

function encodeAttribute(type: string, value: string): Buffer {
  return der(
    derTag.set,
    der(derTag.sequence, derObjectIdentifier(type), der(derTag.utf8String, Buffer.from(value, 'utf8'))),
  );
}

/** Encodes UTCTime through 2049 and GeneralizedTime from then on (RFC 5280 section 4.1.2.5). */
function encodeTime(date: Date): Buffer {
  const text = `${date.toISOString().replaceAll(/[-:T]|\..*$/g, '')}Z`;
  return date.getUTCFullYear() < 2050
    ? der(derTag.utcTime, Buffer.from(text.slice(2), 'latin1'))
    : der(derTag.generalizedTime, Buffer.from(text, 'latin1'));
}

function encodeExtensions(
  extensions: readonly CertificateExtension[],
  subjectKey: Buffer,
  issuerKey: Buffer,
): Buffer {
  const all: readonly CertificateExtension[] = [
    ...extensions,
    {
      identifier: extensionIdentifier.subjectKeyIdentifier,
      value: der(derTag.octetString, keyIdentifier(subjectKey)),
    },
    {
      identifier: extensionIdentifier.authorityKeyIdentifier,
      value: der(derTag.sequence, der(0x80, keyIdentifier(issuerKey))),
    },
  ];
  return der(derTag.sequence, ...all.map(encodeExtension));
}

function encodeExtension({ identifier, critical, value }: CertificateExtension): Buffer {
  return der(
    derTag.sequence,
    derObjectIdentifier(identifier),
    critical === true ? criticalTrue : Buffer.alloc(0),
    der(derTag.octetString, value),
  );
}

/** Returns the SHA-1 of the key's bits (RFC 5280 section 4.2.1.2, method 1), as OpenSSL computes it. */
function keyIdentifier(publicKey: Buffer): Buffer {
  const fields = new DerSequence(readDer(publicKey));
  fields.take(derTag.sequence);
  return createHash('sha1').update(fields.take(derTag.bitString).content.subarray(1)).digest();
}

function publicKeyInfo(key: KeyObject): Buffer {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return publicKey.export({ format: 'der', type: 'spki' });
}

function bitString(bytes: Buffer): Buffer {
  return der(derTag.bitString, Buffer.from([0]), bytes);
}
