import type { VariantKeys } from './keys.ts';
import {
  dataContent,
  digestAlgorithm,
  digestOids,
  inside,
  longTlv,
  message,
  messageParts,
  nil,
  nothing,
  oid,
  openTlv,
  rsaEncryption,
  split,
  tlv,
  withSignature,
} from './parts.ts';
import { type Named, signerOf, signersOf, signedDataType } from './signer-of.ts';

/** Messages that are encoded in an unusual or wrong way. */
export function encodings(module: Buffer, { trusted }: VariantKeys): Named {
  const signer = signerOf(trusted, module);
  const parts = messageParts({ signers: signersOf(signer) });
  const cms = message({ signers: signersOf(signer) });
  const wrapped = tlv(0xa0, tlv(0x30, parts));
  const built = (bytes: Buffer) => withSignature(module, bytes);
  const withSigners = (signers: Buffer) => built(message({ signers }));
  const signerParts = split(inside(signer));
  const identifier = signerParts[1] ?? nothing;
  const withPart = (index: number, part: Buffer) =>
    withSigners(signersOf(tlv(0x30, ...signerParts.with(index, part))));
  return [
    ['an indefinite length outside', built(openTlv(0x30, signedDataType, openTlv(0xa0, tlv(0x30, parts))))],
    [
      'indefinite lengths everywhere',
      built(
        openTlv(
          0x30,
          signedDataType,
          openTlv(
            0xa0,
            openTlv(
              0x30,
              messageParts({
                digestAlgorithms: openTlv(0x31, digestAlgorithm()),
                content: openTlv(0x30, oid('1.2.840.113549.1.7.1')),
                certificates: openTlv(0xa0, trusted.certificate.raw),
                signers: openTlv(0x31, openTlv(0x30, ...signerParts)),
              }),
            ),
          ),
        ),
      ),
    ],
    [
      'an indefinite length without an end marker',
      built(Buffer.concat([Buffer.from([0x30, 0x80]), signedDataType, wrapped])),
    ],
    [
      'an end marker with contents',
      built(Buffer.concat([Buffer.from([0x30, 0x80]), signedDataType, wrapped, Buffer.from([0, 1, 0])])),
    ],
    ['an indefinite algorithm without parameters', withPart(2, openTlv(0x30, oid(digestOids.sha256)))],
    ['an indefinite algorithm with NULL', withPart(2, openTlv(0x30, oid(digestOids.sha256), nil))],
    ['an indefinite parameter', withPart(2, tlv(0x30, oid(digestOids.sha256), openTlv(0x30, nil)))],
    [
      'an indefinite name',
      withPart(
        1,
        tlv(
          0x30,
          openTlv(0x30, ...split(inside(split(inside(identifier))[0] ?? nothing))),
          split(inside(identifier))[1] ?? nothing,
        ),
      ),
    ],
    [
      'an indefinite length of a primitive',
      withPart(
        4,
        Buffer.concat([Buffer.from([0x04, 0x80]), inside(signerParts[4] ?? nothing), Buffer.from([0, 0])]),
      ),
    ],
    ['a signature in parts', withPart(4, tlv(0x24, signerParts[4] ?? nothing))],
    ['a length of three octets', built(longTlv(0x30, 3, inside(cms)))],
    ['lengths longer than they need to be', withPart(2, longTlv(0x30, 2, oid(digestOids.sha256)))],
    ['a sequence without the bit of constructed elements', withPart(2, tlv(0x10, oid(digestOids.sha256)))],
    ['an outer sequence without that bit', built(tlv(0x10, inside(cms)))],
    ['a set without that bit', withSigners(tlv(0x11, signer))],
    ['an integer with that bit', withPart(0, tlv(0x22, Buffer.from([1])))],
    ['a long tag', withPart(2, tlv(0x30, oid(digestOids.sha256), Buffer.from([0x1f, 0x05, 0x00])))],
    [
      'a long tag inside an indefinite parameter',
      withPart(2, tlv(0x30, oid(digestOids.sha256), openTlv(0x30, Buffer.from([0x1f, 0x05, 0x00])))),
    ],
    [
      'an inner length that is too short',
      built(tlv(0x30, signedDataType, tlv(0xa0, Buffer.concat([Buffer.from([0x30, 0x82, 0, 0]), parts])))),
    ],
    ['another outer type', built(tlv(0x30, oid('1.2.840.113549.1.7.3'), wrapped))],
    ['nothing inside', built(tlv(0x30, signedDataType))],
    ['two messages inside', built(tlv(0x30, signedDataType, wrapped, wrapped))],
    [
      'parameters of all kinds',
      withPart(3, tlv(0x30, ...split(inside(rsaEncryption)).with(1, tlv(0x31, tlv(0x30, nil), dataContent)))),
    ],
  ];
}
