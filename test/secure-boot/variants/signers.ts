import { createSign } from 'node:crypto';
import type { VariantKey, VariantKeys } from './keys.ts';
import {
  type MessageParts,
  type SignerParts,
  digestAlgorithm,
  digestOids,
  message,
  nil,
  nothing,
  oid,
  tlv,
  withSignature,
} from './parts.ts';
import { algorithm, type Named, attributes, signerOf, signersOf, unfitting, unknown } from './signer-of.ts';

/** Messages that sign-file or openssl could have made. */
export function wellFormed(module: Buffer, { trusted, stranger }: VariantKeys): Named {
  const plain = (parts: Partial<MessageParts> = {}, by: Buffer = signerOf(trusted, module)) =>
    withSignature(module, message({ signers: signersOf(by), ...parts }));
  const hashes = (['sha1', 'sha224', 'sha384', 'sha512'] as const).map(
    (digest) => [digest, plain({}, signerOf(trusted, module, { digest }))] as const,
  );
  return [
    ['plain', plain()],
    ['not signed', module],
    ['by a stranger', plain({}, signerOf(stranger, module))],
    ...hashes,
    [
      'the algorithm without parameters',
      plain({}, signerOf(trusted, module, { algorithm: tlv(0x30, oid('1.2.840.113549.1.1.1')) })),
    ],
    [
      'the digest algorithm with NULL',
      plain({}, signerOf(trusted, module, { hash: tlv(0x30, oid(digestOids.sha256), nil) })),
    ],
    [
      'another digest algorithm in the list',
      plain({ digestAlgorithms: tlv(0x31, digestAlgorithm('sha512')) }),
    ],
    [
      'an unknown digest algorithm in the list',
      plain({ digestAlgorithms: tlv(0x31, digestAlgorithm(), tlv(0x30, unknown)) }),
    ],
    ['the digest algorithms as a sequence', plain({ digestAlgorithms: tlv(0x30, digestAlgorithm()) })],
    ['the signers as a sequence', plain({ signers: tlv(0x30, signerOf(trusted, module)) })],
    [
      'unsigned attributes',
      plain(
        {},
        signerOf(trusted, module, { unsignedAttributes: tlv(0xa1, tlv(0x30, unknown, tlv(0x31, nil))) }),
      ),
    ],
    [
      'no unsigned attribute in the list',
      plain({}, signerOf(trusted, module, { unsignedAttributes: tlv(0xa1) })),
    ],
    [
      'bytes changed after signing',
      withSignature(
        Buffer.from(module).fill('K', module.indexOf('license=GPL'), module.indexOf('license=GPL') + 1),
        message({ signers: signersOf(signerOf(trusted, module)) }),
      ),
    ],
    [
      'a byte more than was signed',
      withSignature(
        Buffer.concat([module, Buffer.from('x')]),
        message({ signers: signersOf(signerOf(trusted, module)) }),
      ),
    ],
  ];
}

/** Messages of several signers. */
export function severalSigners(module: Buffer, { trusted, stranger, elliptic }: VariantKeys): Named {
  const good = signerOf(trusted, module);
  const other = (parts: Partial<SignerParts>) => signerOf(stranger, module, parts);
  const signedBy = (...signers: Buffer[]) =>
    withSignature(module, message({ signers: signersOf(...signers) }));
  const forged = signerOf(trusted, module, { signature: unfitting(trusted) });
  return [
    ['a stranger beside', signedBy(good, other({}))],
    ['a stranger before', signedBy(other({}), good)],
    ['a signer of another key with an unknown digest', signedBy(good, other({ hash: tlv(0x30, unknown) }))],
    [
      'a signer of another key with an unknown algorithm',
      signedBy(good, other({ algorithm: tlv(0x30, unknown) })),
    ],
    [
      'a signer of another key with sha3-256',
      signedBy(good, other({ hash: algorithm('2.16.840.1.101.3.4.2.8') })),
    ],
    [
      'a signer of another key with ML-DSA-65',
      signedBy(good, other({ algorithm: algorithm('2.16.840.1.101.3.4.3.18') })),
    ],
    [
      'a signer of another key with md5',
      signedBy(good, other({ hash: algorithm('1.2.840.113549.2.5', nil) })),
    ],
    ['a signer of another key with SM3', signedBy(good, other({ hash: algorithm('1.2.156.10197.1.401') }))],
    [
      'a signer of another key with ECDSA',
      signedBy(good, other({ algorithm: algorithm('1.2.840.10045.4.3.2') })),
    ],
    [
      'a signer with an empty name',
      signedBy(good, other({ identifier: tlv(0x30, tlv(0x30), tlv(2, Buffer.from([5]))) })),
    ],
    ['twice the same signer', signedBy(good, good)],
    ['the same signer with another signature', signedBy(good, forged)],
    ['the same signer with another signature before', signedBy(forged, good)],
    ['40 signers', signedBy(...Array.from({ length: 40 }, () => good))],
    ['40 strangers and one that is trusted', signedBy(...Array.from({ length: 40 }, () => other({})), good)],
    ['no signer', signedBy()],
    ['signers left out', withSignature(module, message({ signers: nothing }))],
    [
      'ECDSA of an enrolled key beside',
      signedBy(
        good,
        signerOf(elliptic, module, {
          algorithm: algorithm('1.2.840.10045.4.3.3'),
          digest: 'sha384',
          signature: createSign('sha384').update(module).sign(elliptic.key),
        }),
      ),
    ],
    ['attributes of one signer only', signedBy(good, other({ signedAttributes: attributes(0xa0) }))],
  ];
}

/** Messages by keys that not every kernel takes. */
export function keysOfOtherKinds(
  module: Buffer,
  { long, odd, byteShort, bitShort, short, elliptic, trusted }: VariantKeys,
): Named {
  const by = (key: VariantKey) =>
    withSignature(module, message({ signers: signersOf(signerOf(key, module)) }));
  const ecdsa = (identified: VariantKey) =>
    withSignature(
      module,
      message({
        signers: signersOf(
          signerOf(identified, module, {
            digest: 'sha384',
            algorithm: tlv(0x30, oid('1.2.840.10045.4.3.3')),
            signature: createSign('sha384').update(module).sign(elliptic.key),
          }),
        ),
      }),
    );
  return [
    ['RSA-5120', by(long)],
    ['RSA-2560', by(odd)],
    ['RSA-2040', by(byteShort)],
    ['RSA-2047', by(bitShort)],
    ['RSA-1024', by(short)],
    ['ECDSA', ecdsa(elliptic)],
    ['ECDSA in the name of an RSA key', ecdsa(trusted)],
  ];
}
