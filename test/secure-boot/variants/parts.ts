import { constants, createHash, createSign, privateEncrypt, type X509Certificate } from 'node:crypto';
import type { VariantKey } from './keys.ts';

/** Writes an element in DER. */
export function tlv(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  return Buffer.concat([Buffer.from([tag]), lengthOctets(content.length), content]);
}

/** The same with a length that takes more octets than it needs. */
export function longTlv(tag: number, octets: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const length = Buffer.alloc(octets);
  length.writeUIntBE(content.length, 0, octets);
  return Buffer.concat([Buffer.from([tag, 0x80 | octets]), length, content]);
}

/** The same with an indefinite length and an end marker. */
export function openTlv(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.from([tag, 0x80]), ...contents, Buffer.from([0, 0])]);
}

function lengthOctets(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const digits = Buffer.from(
    length.toString(16).padStart(length > 0xffff ? 6 : length > 0xff ? 4 : 2, '0'),
    'hex',
  );
  return Buffer.concat([Buffer.from([0x80 | digits.length]), digits]);
}

/** Writes an OBJECT IDENTIFIER in dotted form. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const octets = rest.flatMap((arc) => {
    const digits = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) digits.unshift((left & 0x7f) | 0x80);
    return digits;
  });
  return tlv(6, Buffer.from([first * 40 + second, ...octets]));
}

/** Splits elements in DER that follow one another. */
export function split(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + headerLength(bytes.subarray(at)) + contentLength(bytes.subarray(at));
    parts.push(bytes.subarray(at, end));
    at = end;
  }
  return parts;
}

/** The contents of an element in DER. */
export function inside(element: Buffer): Buffer {
  return element.subarray(headerLength(element));
}

function headerLength(element: Buffer): number {
  const first = element[1] ?? 0;
  return first < 0x80 ? 2 : 2 + (first & 0x7f);
}

function contentLength(element: Buffer): number {
  const first = element[1] ?? 0;
  return first < 0x80 ? first : element.readUIntBE(2, first & 0x7f);
}

export const nothing: Buffer = Buffer.alloc(0);
export const nil: Buffer = tlv(5);
export const digestOids = {
  sha1: '1.3.14.3.2.26',
  sha224: '2.16.840.1.101.3.4.2.4',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
} as const;
export type Hash = keyof typeof digestOids;

export const rsaEncryption: Buffer = tlv(0x30, oid('1.2.840.113549.1.1.1'), nil);
export const dataContent: Buffer = tlv(0x30, oid('1.2.840.113549.1.7.1'));

export function digestAlgorithm(hash: Hash = 'sha256'): Buffer {
  return tlv(0x30, oid(digestOids[hash]));
}

/** Parts of a SignerInfo, in order; what is left out has its usual value. */
export interface SignerParts {
  readonly version?: Buffer;
  readonly identifier: Buffer;
  readonly hash?: Buffer;
  readonly signedAttributes?: Buffer;
  readonly algorithm?: Buffer;
  readonly signature: Buffer;
  readonly unsignedAttributes?: Buffer;
}

export function signerInfo(parts: SignerParts): Buffer {
  const { version = tlv(2, Buffer.from([1])), identifier, hash = digestAlgorithm() } = parts;
  const { signedAttributes = nothing, algorithm = rsaEncryption, unsignedAttributes = nothing } = parts;
  const signature = tlv(4, parts.signature);
  return tlv(0x30, version, identifier, hash, signedAttributes, algorithm, signature, unsignedAttributes);
}

/** Parts of a SignedData, in order; what is left out has its usual value. */
export interface MessageParts {
  readonly version?: Buffer;
  readonly digestAlgorithms?: Buffer;
  readonly content?: Buffer;
  readonly certificates?: Buffer;
  readonly revocationLists?: Buffer;
  readonly signers: Buffer;
}

/** The parts of a SignedData, joined. */
export function messageParts(parts: MessageParts): Buffer {
  const { version = tlv(2, Buffer.from([1])), digestAlgorithms = tlv(0x31, digestAlgorithm()) } = parts;
  const { content = dataContent, certificates = nothing, revocationLists = nothing, signers } = parts;
  return Buffer.concat([version, digestAlgorithms, content, certificates, revocationLists, signers]);
}

export function message(parts: MessageParts): Buffer {
  return tlv(0x30, oid('1.2.840.113549.1.7.2'), tlv(0xa0, tlv(0x30, messageParts(parts))));
}

/** Issuer and serial number of a certificate, as they stand in it. */
export function issuerAndSerial(certificate: X509Certificate): Buffer {
  const parts = split(inside(split(inside(certificate.raw))[0] ?? nothing));
  // A version of 1 is not written.
  const [serial = nothing, , issuer = nothing] = parts[0]?.[0] === 0xa0 ? parts.slice(1) : parts;
  return tlv(0x30, issuer, serial);
}

/** RSA PKCS #1 v1.5 over the module. */
export function rsaSignature({ key }: VariantKey, module: Buffer, hash: Hash = 'sha256'): Buffer {
  return createSign(hash).update(module).sign(key);
}

/** The same with a DigestInfo that has no parameters, which many verifiers take. */
export function signatureWithoutParameters({ key }: VariantKey, module: Buffer): Buffer {
  const digest = createHash('sha256').update(module).digest();
  const info = tlv(0x30, tlv(0x30, oid(digestOids.sha256)), tlv(4, digest));
  return privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, info);
}

/** A module with a CMS appended; `length` is what the trailer says, `struct` its first eight octets. */
export function withSignature(
  module: Buffer,
  cms: Buffer,
  { length = cms.length, struct = [0, 0, 2, 0, 0, 0, 0, 0] }: { length?: number; struct?: number[] } = {},
): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(length);
  return Buffer.concat([
    module,
    cms,
    Buffer.from(struct),
    size,
    Buffer.from('~Module signature appended~\n'),
  ]);
}
