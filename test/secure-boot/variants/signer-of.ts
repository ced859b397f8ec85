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
export const random: Buffer = Buffer.alloc(256, 1);

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
