import { createHash, generateKeyPair, type KeyObject, randomBytes, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { certificateSignatureAlgorithm } from '../cms/algorithms.ts';
import { der, derObjectIdentifier, derTag, derUnsignedInteger, DerSequence, readDer } from '../cms/der.ts';

export interface SelfSignedOptions {
  /** Common name of subject and issuer. */
  readonly commonName: string;
  /** Organization of subject and issuer. */
  readonly organization?: string | undefined;
  /** Length of the RSA modulus. */
  readonly bits: number;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface SelfSigned {
  readonly privateKey: KeyObject;
  /** DER. */
  readonly certificate: Buffer;
}

const extension = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;
const codeSigning = '1.3.6.1.5.5.7.3.3';
/** Tells shim that the key is for kernel modules only, so it cannot boot anything. */
const moduleSigningOnly = '1.3.6.1.4.1.2312.16.1.2';
const attribute = { commonName: '2.5.4.3', organization: '2.5.4.10' } as const;
const criticalTrue = der(derTag.boolean, Buffer.from([0xff]));

/** Makes an RSA key and a certificate for it that is fit to be a Machine Owner Key (RFC 5280). */
export async function createSelfSigned(options: SelfSignedOptions): Promise<SelfSigned> {
  const { privateKey, publicKey } = await promisify(generateKeyPair)('rsa', { modulusLength: options.bits });
  const algorithm = certificateSignatureAlgorithm('rsa', 'sha256');
  const toBeSigned = encodeToBeSigned(options, publicKey.export({ format: 'der', type: 'spki' }), algorithm);
  const certificate = der(
    derTag.sequence,
    toBeSigned,
    algorithm,
    bitString(sign('sha256', toBeSigned, privateKey)),
  );
  return { privateKey, certificate };
}

function encodeToBeSigned(options: SelfSignedOptions, publicKey: Buffer, algorithm: Buffer): Buffer {
  const name = encodeName(options);
  return der(
    derTag.sequence,
    der(0xa0, der(derTag.integer, Buffer.from([2]))),
    serialNumber(),
    algorithm,
    name,
    der(derTag.sequence, encodeTime(options.notBefore), encodeTime(options.notAfter)),
    name,
    publicKey,
    der(0xa3, encodeExtensions(publicKey)),
  );
}

/** 159 random bits, which makes it positive and at most 20 octets long (RFC 5280 section 4.1.2.2). */
function serialNumber(): Buffer {
  const bytes = randomBytes(20);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return derUnsignedInteger(bytes);
}

function encodeName({ organization, commonName }: SelfSignedOptions): Buffer {
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

/** UTCTime until 2049, GeneralizedTime from then on (RFC 5280 section 4.1.2.5). */
function encodeTime(date: Date): Buffer {
  const text = `${date.toISOString().replaceAll(/[-:T]|\..*$/g, '')}Z`;
  return date.getUTCFullYear() < 2050
    ? der(derTag.utcTime, Buffer.from(text.slice(2), 'latin1'))
    : der(derTag.generalizedTime, Buffer.from(text, 'latin1'));
}

function encodeExtensions(publicKey: Buffer): Buffer {
  const keyIdentifier = subjectKeyIdentifier(publicKey);
  return der(
    derTag.sequence,
    // CA:FALSE is the default, and defaults are left out in DER.
    encodeExtension(extension.basicConstraints, der(derTag.sequence), criticalTrue),
    encodeExtension(extension.keyUsage, der(derTag.bitString, Buffer.from([7, 0x80])), criticalTrue),
    encodeExtension(
      extension.extendedKeyUsage,
      der(derTag.sequence, derObjectIdentifier(codeSigning), derObjectIdentifier(moduleSigningOnly)),
    ),
    encodeExtension(extension.subjectKeyIdentifier, der(derTag.octetString, keyIdentifier)),
    encodeExtension(extension.authorityKeyIdentifier, der(derTag.sequence, der(0x80, keyIdentifier))),
  );
}

function encodeExtension(identifier: string, value: Buffer, critical: Buffer = Buffer.alloc(0)): Buffer {
  return der(derTag.sequence, derObjectIdentifier(identifier), critical, der(derTag.octetString, value));
}

/** SHA-1 over the key's bits (RFC 5280 section 4.2.1.2, method 1), as OpenSSL computes it. */
function subjectKeyIdentifier(publicKey: Buffer): Buffer {
  const fields = new DerSequence(readDer(publicKey));
  fields.take(derTag.sequence);
  return createHash('sha1').update(fields.take(derTag.bitString).content.subarray(1)).digest();
}

function bitString(bytes: Buffer): Buffer {
  return der(derTag.bitString, Buffer.from([0]), bytes);
}
