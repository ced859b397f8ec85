import { asExecutable, withoutModinfo } from '../../support/modules.ts';
import type { VariantKey, VariantKeys } from './keys.ts';
import { message, tlv, withSignature } from './parts.ts';
import { type Named, signerOf, signersOf, unknown } from './signer-of.ts';

/** Objects of other kinds, signed and not. */
export function objects(module: Buffer, { trusted, stranger }: VariantKeys): Named {
  return [
    ['without .modinfo', again(withoutModinfo(module), trusted)],
    ['without .modinfo, not signed', withoutModinfo(module)],
    ['without .modinfo, by a stranger', again(withoutModinfo(module), stranger)],
    ['not relocatable', again(asExecutable(module), trusted)],
    ['not relocatable, not signed', asExecutable(module)],
    ['not an ELF file', again(Buffer.from('#!/bin/sh\n'), trusted)],
  ];
}

/** Messages of unusual size, and trailers that are wrong. */
export function trailers(module: Buffer, { trusted, stranger }: VariantKeys): Named {
  const signer = signerOf(trusted, module);
  const cms = message({ signers: signersOf(signer) });
  const large = (size: number) =>
    message({ signers: signersOf(signerOf(trusted, module, { unsignedAttributes: padded(size) })) });
  const room = 65_535 - large(60_000).length + 60_000;
  const strange = withSignature(module, Buffer.from('not a message'));
  const old = (type: number) =>
    withSignature(module, Buffer.concat([Buffer.from('name'), Buffer.from('keyid'), Buffer.alloc(20, 7)]), {
      length: 20,
      struct: [1, 4, type, 4, 5, 0, 0, 0],
    });
  return [
    ['two octets after the message', withSignature(module, Buffer.concat([cms, Buffer.alloc(2)]))],
    ['60 kB after the message', withSignature(module, Buffer.concat([cms, Buffer.alloc(60_000)]))],
    ['65,535 octets', withSignature(module, large(room))],
    ['65,536 octets', withSignature(module, large(room + 1))],
    [
      '65,535 octets and one after the message',
      withSignature(module, Buffer.concat([large(room), Buffer.alloc(1)])),
    ],
    ['70 kB of unsigned attributes', withSignature(module, large(70_000))],
    ['a length one too small', withSignature(module, cms, { length: cms.length - 1 })],
    ['a length one too large', withSignature(module, cms, { length: cms.length + 1 })],
    ['a length of nothing', withSignature(module, cms, { length: 0 })],
    ['a length beyond the file', withSignature(module, cms, { length: 0x7fffffff })],
    ['the type PGP', old(0)],
    ['the type X.509', old(1)],
    ['the type 3', withSignature(module, cms, { struct: [0, 0, 3, 0, 0, 0, 0, 0] })],
    [
      'the length of a signer in the trailer',
      withSignature(module, cms, { struct: [0, 0, 2, 1, 0, 0, 0, 0] }),
    ],
    ['a digest in the trailer', withSignature(module, cms, { struct: [0, 4, 2, 0, 0, 0, 0, 0] })],
    [
      'something in the padding of the trailer',
      withSignature(module, cms, { struct: [0, 0, 2, 0, 0, 1, 0, 0] }),
    ],
    ['a newline after the trailer', Buffer.concat([withSignature(module, cms), Buffer.from('\n')])],
    ['the last octet cut off', withSignature(module, cms).subarray(0, -1)],
    ['signed twice, the last by a stranger', again(withSignature(module, cms), stranger)],
    ['signed twice, the last by a trusted key', again(again(module, stranger), trusted)],
    ['over a signature that cannot be read', again(strange, trusted)],
    ['over a signature of the type X.509', again(old(1), trusted)],
    [
      'the message in text form',
      withSignature(module, Buffer.from(`-----BEGIN CMS-----\n${cms.toString('base64')}\n`)),
    ],
  ];
}

/** Unsigned attributes of a size. */
function padded(size: number): Buffer {
  return tlv(0xa1, tlv(0x30, unknown, tlv(0x31, tlv(4, Buffer.alloc(size)))));
}

function again(inner: Buffer, by: VariantKey): Buffer {
  return withSignature(inner, message({ signers: signersOf(signerOf(by, inner)) }));
}
