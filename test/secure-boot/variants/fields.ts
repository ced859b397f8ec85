import type { VariantKey, VariantKeys } from './keys.ts';
import {
  type MessageParts,
  type SignerParts,
  digestOids,
  inside,
  issuerAndSerial,
  message,
  nil,
  nothing,
  oid,
  rsaSignature,
  signatureWithoutParameters,
  signerInfo,
  split,
  tlv,
  withSignature,
} from './parts.ts';
import { algorithm, type Named, attributes, signersOf, three } from './signer-of.ts';

/** Messages with a field of an unusual or wrong value. */
export function fields(module: Buffer, { trusted }: VariantKeys): Named {
  const signature = rsaSignature(trusted, module);
  const identifier = issuerAndSerial(trusted.certificate);
  const [issuer = nothing, serial = nothing] = split(inside(identifier));
  const keyIdentifier = keyIdentifierOf(trusted);
  const built = (parts: Partial<SignerParts>, messageFields: Partial<MessageParts> = {}) =>
    withSignature(
      module,
      message({ signers: signersOf(signerInfo({ identifier, signature, ...parts })), ...messageFields }),
    );
  const zeroOne = tlv(2, Buffer.from([0, 1]));
  return [
    ['named by key identifier', built({ version: three, identifier: keyIdentifier }, { version: three })],
    ['a key identifier with version 1', built({ identifier: keyIdentifier })],
    ['a serial number with version 3', built({ version: three }, { version: three })],
    ['a message of version 3 with a signer of version 1', built({}, { version: three })],
    [
      'a message of version 1 with a signer of version 3',
      built({ version: three, identifier: keyIdentifier }),
    ],
    ['version 2', built({ version: version(2) }, { version: version(2) })],
    ['version 0', built({ version: version(0) }, { version: version(0) })],
    ['versions in two octets', built({ version: zeroOne }, { version: zeroOne })],
    ['the version of the signer in two octets', built({ version: zeroOne })],
    ['sha256WithRSA', built({ algorithm: algorithm('1.2.840.113549.1.1.11', nil) })],
    ['sha512WithRSA', built({ algorithm: algorithm('1.2.840.113549.1.1.13', nil) })],
    ['RSA-PSS', built({ algorithm: algorithm('1.2.840.113549.1.1.10', tlv(0x30)) })],
    [
      'the algorithm with a parameter too many',
      built({ algorithm: algorithm('1.2.840.113549.1.1.1', nil, nil) }),
    ],
    [
      'the algorithm with another parameter',
      built({ algorithm: algorithm('1.2.840.113549.1.1.1', tlv(4, Buffer.from('junk'))) }),
    ],
    [
      'the digest algorithm with parameters too many',
      built({ hash: tlv(0x30, oid(digestOids.sha256), nil, nil) }),
    ],
    [
      'the digest algorithm with another parameter',
      built({ hash: tlv(0x30, oid(digestOids.sha256), tlv(4, Buffer.from('junk'))) }),
    ],
    [
      'a digest algorithm in the list with parameters too many',
      built({}, { digestAlgorithms: tlv(0x31, tlv(0x30, oid(digestOids.sha256), nil, nil)) }),
    ],
    [
      'an identifier that is not in its shortest form',
      built({
        hash: tlv(0x30, Buffer.concat([Buffer.from([6, 10, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 0x80, 1])])),
      }),
    ],
    ['no digest algorithm in the list', built({}, { digestAlgorithms: tlv(0x31) })],
    ['digest algorithms left out', built({}, { digestAlgorithms: nothing })],
    ['garbage for revocation lists', built({}, { revocationLists: tlv(0xa1, tlv(4, Buffer.from('xxxx'))) })],
    ['an empty set of revocation lists', built({}, { revocationLists: tlv(0xa1) })],
    [
      'a certificate in a revocation list',
      built({}, { revocationLists: tlv(0xa1, tlv(0x30, trusted.certificate.raw)) }),
    ],
    [
      'content inside',
      built({}, { content: tlv(0x30, oid('1.2.840.113549.1.7.1'), tlv(0xa0, tlv(4, Buffer.from('x')))) }),
    ],
    [
      'empty content inside',
      built({}, { content: tlv(0x30, oid('1.2.840.113549.1.7.1'), tlv(0xa0, tlv(4))) }),
    ],
    ['content of another type', built({}, { content: tlv(0x30, oid('1.2.840.113549.1.9.16.1.4')) })],
    ['content of Authenticode', built({}, { content: tlv(0x30, oid('1.3.6.1.4.1.311.2.1.4')) })],
    ['signed attributes', built({ signedAttributes: attributes(0xa0) })],
    ['attributes as a sequence', built({ signedAttributes: tlv(0xa2, attributes(0x30)) })],
    [
      'attributes as a sequence, one of them twice',
      built({ signedAttributes: tlv(0xa2, attributes(0x30, ...split(inside(attributes(0x30))))) }),
    ],
    [
      'a serial number with zeros before it',
      built({ identifier: tlv(0x30, issuer, tlv(2, Buffer.from([0, 0]), inside(serial))) }),
    ],
    ['a signature with a zero before it', built({ signature: Buffer.concat([Buffer.from([0]), signature]) })],
    ['a signature one octet short', built({ signature: signature.subarray(1) })],
    ['an empty signature', built({ signature: nothing })],
    ['a signature that is no residue', built({ signature: Buffer.alloc(256, 0xff) })],
    ['a DigestInfo without parameters', built({ signature: signatureWithoutParameters(trusted, module) })],
    [
      'a digest of another algorithm than it says',
      built({ signature: rsaSignature(trusted, module, 'sha384') }),
    ],
    [
      'an element too many at the end',
      built({}, { signers: Buffer.concat([signersOf(signerInfo({ identifier, signature })), nil]) }),
    ],
  ];
}

function keyIdentifierOf({ certificate }: VariantKey): Buffer {
  const extensions = split(inside(split(inside(certificate.raw))[0] ?? nothing)).at(-1) ?? nothing;
  const name = oid('2.5.29.14');
  const found = split(inside(inside(extensions))).find((one) =>
    inside(one).subarray(0, name.length).equals(name),
  );
  const value = split(inside(found ?? nothing)).at(-1) ?? nothing;
  return tlv(0x80, inside(inside(value)));
}

function version(number: number): Buffer {
  return tlv(2, Buffer.from([number]));
}
