import { constants, publicDecrypt } from 'node:crypto';
import type { VariantKey } from './keys.ts';
import {
  type Hash,
  type SignerParts,
  digestAlgorithm,
  issuerAndSerial,
  oid,
  rsaSignature,
  signerInfo,
  tlv,
} from './parts.ts';

/** Modules by what is special about them. */
export type Named = readonly (readonly [string, Buffer])[];

export const unknown: Buffer = oid('1.2.3.4');
export const three: Buffer = tlv(2, Buffer.from([3]));
export const signedDataType: Buffer = oid('1.2.840.113549.1.7.2');

/**
 * A signature that does not fit. What a key makes of it begins with another octet than zero, as it does for 255 of
 * 256 signatures, or with zero: kernels respond differently.
 */
export function unfitting(
  key: VariantKey,
  begins: 'zero' | 'other' = 'other',
  make: (seed: number) => Buffer = seeded,
): Buffer {
  for (let seed = 1; seed < 10_000; seed++) {
    const signature = make(seed);
    if ((firstOctet(key, signature) === 0) === (begins === 'zero')) return signature;
  }
  throw new Error('no such signature was found');
}

function seeded(seed: number): Buffer {
  const signature = Buffer.alloc(256, 1);
  signature.writeUInt32BE(seed, 252);
  return signature;
}

function firstOctet({ certificate }: VariantKey, signature: Buffer): number | undefined {
  const { publicKey } = certificate;
  return publicDecrypt({ key: publicKey, padding: constants.RSA_NO_PADDING }, signature)[0];
}

/** One signer by issuer and serial number; parts may be replaced. */
export function signerOf(
  key: VariantKey,
  module: Buffer,
  parts: Partial<SignerParts> & { digest?: Hash } = {},
): Buffer {
  const { digest = 'sha256', ...rest } = parts;
  return signerInfo({
    identifier: issuerAndSerial(key.certificate),
    hash: digestAlgorithm(digest),
    signature: rest.signature ?? rsaSignature(key, module, digest),
    ...rest,
  });
}

/** The signers of a message. */
export function signersOf(...signers: readonly Buffer[]): Buffer {
  return tlv(0x31, ...signers);
}

/** Attributes of a signer: content type and a digest. */
export function attributes(tag: number, ...more: Buffer[]): Buffer {
  const type = tlv(0x30, oid('1.2.840.113549.1.9.3'), tlv(0x31, oid('1.2.840.113549.1.7.1')));
  const digest = tlv(0x30, oid('1.2.840.113549.1.9.4'), tlv(0x31, tlv(4, Buffer.alloc(32))));
  return tlv(tag, type, digest, ...more);
}

/** An AlgorithmIdentifier. */
export function algorithm(dotted: string, ...parameters: readonly Buffer[]): Buffer {
  return tlv(0x30, oid(dotted), ...parameters);
}
