import type { VariantKey, VariantKeys } from './keys.ts';
import { message, nil, nothing, tlv, withSignature } from './parts.ts';
import { type Named, signerOf, signersOf, three, unfitting } from './signer-of.ts';

/** Messages that bring certificates. */
export function certificates(module: Buffer, keys: VariantKeys): Named {
  const { trusted, stranger, leaf, bareLeaf, forgedLeaf, middle, deepLeaf, authority } = keys;
  const { ellipticStranger, edwards, sha1Signed } = keys;
  const signed = (certificatesField: Buffer, ...signers: Buffer[]) =>
    withSignature(module, message({ certificates: certificatesField, signers: signersOf(...signers) }));
  const good = signerOf(trusted, module);
  const named = (key: string, by: VariantKey) =>
    withSignature(
      module,
      message({
        version: three,
        certificates: set(...raw(by)),
        signers: signersOf(
          signerOf(by, module, { version: three, identifier: tlv(0x80, Buffer.from(key, 'hex')) }),
        ),
      }),
    );
  const wrong = signerOf(stranger, module, { signature: unfitting(stranger) });
  const short = signerOf(stranger, module, { signature: unfitting(stranger).subarray(1) });
  const unfit = (begins: 'zero' | 'other') =>
    signed(set(...raw(leaf)), signerOf(leaf, module, { signature: unfitting(leaf, begins) }));
  return [
    ['its certificate beside it', signed(set(...raw(trusted)), good)],
    ['certificates as a sequence', signed(tlv(0xa2, ...raw(trusted)), good)],
    ['an empty set of certificates', signed(set(), good)],
    ['an empty sequence of certificates', signed(tlv(0xa2), good)],
    ['a certificate of another key beside', signed(set(...raw(stranger)), good)],
    ['something in place of a certificate', signed(set(tlv(0x30, nil)), good)],
    ['an attribute certificate', signed(set(...raw(trusted), tlv(0xa1, Buffer.alloc(20))), good)],
    ['a certificate that was changed', signed(set(changed(stranger)), good)],
    ['an Ed25519 certificate', signed(set(...raw(edwards)), good)],
    ['an elliptic certificate', signed(set(...raw(ellipticStranger)), good)],
    ['a certificate signed with sha1', signed(set(...raw(sha1Signed)), signerOf(sha1Signed, module))],
    ['another signer with its certificate', signed(set(...raw(stranger)), good, signerOf(stranger, module))],
    ['another signer whose certificate does not fit', signed(set(...raw(stranger)), good, wrong)],
    ['another signer whose signature is too short', signed(set(...raw(stranger)), good, short)],
    ['a leaf', signed(set(...raw(leaf)), signerOf(leaf, module))],
    ['a leaf and its authority', signed(set(...raw(leaf, authority)), signerOf(leaf, module))],
    ['a leaf that is not there', signed(nothing, signerOf(leaf, module))],
    ['a leaf named by key identifier', named('0a0b0c', leaf)],
    ['a leaf without an authority key identifier', signed(set(...raw(bareLeaf)), signerOf(bareLeaf, module))],
    ['a leaf of a forged authority', signed(set(...raw(forgedLeaf)), signerOf(forgedLeaf, module))],
    ['a leaf two steps below', signed(set(...raw(deepLeaf, middle)), signerOf(deepLeaf, module))],
    [
      'a leaf two steps below, in the other order',
      signed(set(...raw(middle, deepLeaf)), signerOf(deepLeaf, module)),
    ],
    ['a leaf two steps below without the middle', signed(set(...raw(deepLeaf)), signerOf(deepLeaf, module))],
    ['a leaf whose signature does not fit', unfit('other')],
    ['a leaf whose signature does not fit, but begins with zero', unfit('zero')],
    ['two leaves', signed(set(...raw(leaf)), signerOf(leaf, module), signerOf(leaf, module))],
    ['the key identifier of the authority', named('0102030405060708', authority)],
  ];
}

/** A certificate with another signature in place of its own, which ends it. */
function changed(key: VariantKey): Buffer {
  const { raw: certificate } = key.certificate;
  const signature = unfitting(key, 'other', (seed) =>
    Buffer.from(certificate.subarray(-256)).fill(seed, 156),
  );
  return Buffer.concat([certificate.subarray(0, -256), signature]);
}

function raw(...keys: readonly VariantKey[]): Buffer[] {
  return keys.map(({ certificate }) => certificate.raw);
}

function set(...list: readonly Buffer[]): Buffer {
  return tlv(0xa0, ...list);
}
