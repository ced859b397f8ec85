import { X509Certificate } from 'node:crypto';
import { derTag, DerError, type DerElement, DerSequence, readDer, readObjectIdentifier } from './der.ts';
import { SignerError } from '../model/errors.ts';
import { printable } from '../../shared/printable.ts';

const pemCertificate =
  /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g;

/**
 * Reads certificates: one in DER, or one or more in PEM. `name` is used in messages.
 * @throws SignerError INVALID_CERTIFICATE
 */
export function parseCertificates(bytes: Buffer, name: string): [X509Certificate, ...X509Certificate[]] {
  const encoded =
    bytes[0] === derTag.sequence ? [bytes] : (bytes.toString('latin1').match(pemCertificate) ?? []);
  const [first, ...rest] = encoded.map((one) => parseCertificate(one, name));
  if (first === undefined) {
    throw new SignerError({
      code: 'INVALID_CERTIFICATE',
      message: `${name} contains no certificate`,
      hint: 'Certificates are read in PEM or DER.',
    });
  }
  return [first, ...rest];
}

function parseCertificate(encoded: Buffer | string, name: string): X509Certificate {
  try {
    return new X509Certificate(encoded);
  } catch {
    throw new SignerError({
      code: 'INVALID_CERTIFICATE',
      message: `The certificate in ${name} cannot be read`,
      hint: 'Give an X.509 certificate in PEM or DER; openssl x509 -in FILE -text shows whether it is one.',
    });
  }
}

/** Returns the SHA-256 of a certificate's DER, in lower-case hexadecimal without colons. */
export function certificateFingerprint(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(':', '').toLowerCase();
}

/** The fields of a certificate that CMS needs, with names and numbers as encoded in the certificate's DER. */
export interface CertificateFields {
  /** DER of the issuer's Name. */
  readonly issuer: Buffer;
  /** DER of the serial number's INTEGER. */
  readonly serialNumber: Buffer;
  /** Contents of the subject key identifier extension; null if absent. */
  readonly subjectKeyIdentifier: Buffer | null;
  /** Names in the key usage extension; null if absent. */
  readonly keyUsage: readonly string[] | null;
}

const subjectKeyIdentifierExtension = '2.5.29.14';
const keyUsageExtension = '2.5.29.15';
/** RFC 5280 section 4.2.1.3, in bit order. */
const keyUsageNames = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
];

/** Short names of RFC 4519 and PKCS #9. */
const attributeNames = new Map<string, string>([
  ['2.5.4.3', 'CN'],
  ['2.5.4.5', 'serialNumber'],
  ['2.5.4.6', 'C'],
  ['2.5.4.7', 'L'],
  ['2.5.4.8', 'ST'],
  ['2.5.4.10', 'O'],
  ['2.5.4.11', 'OU'],
  ['0.9.2342.19200300.100.1.25', 'DC'],
  ['1.2.840.113549.1.9.1', 'emailAddress'],
]);
const bmpString = 0x1e;

const cache = new WeakMap<X509Certificate, CertificateFields>();

/** Reads a certificate's fields (RFC 5280 section 4.1). @throws SignerError INVALID_CERTIFICATE */
export function certificateFields(certificate: X509Certificate): CertificateFields {
  const known = cache.get(certificate);
  if (known !== undefined) return known;
  try {
    const fields = readFields(certificate.raw);
    cache.set(certificate, fields);
    return fields;
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    throw new SignerError({
      code: 'INVALID_CERTIFICATE',
      message: `The certificate of "${certificate.subject.replaceAll('\n', ', ')}" is not well-formed DER: ${error.message}`,
    });
  }
}

function readFields(raw: Buffer): CertificateFields {
  const toBeSigned = new DerSequence(new DerSequence(readDer(raw)).take(derTag.sequence));
  toBeSigned.takeIf(0xa0);
  const serialNumber = toBeSigned.take(derTag.integer).bytes;
  toBeSigned.take(derTag.sequence);
  const issuer = toBeSigned.take(derTag.sequence).bytes;
  const extensions = readExtensions(toBeSigned.takeRest().find(({ tag }) => tag === 0xa3));
  const keyIdentifier = extensions.get(subjectKeyIdentifierExtension);
  const usage = extensions.get(keyUsageExtension);
  return {
    issuer,
    serialNumber,
    subjectKeyIdentifier: keyIdentifier === undefined ? null : octets(readDer(keyIdentifier)),
    keyUsage: usage === undefined ? null : readKeyUsage(readDer(usage)),
  };
}

function readExtensions(wrapper: DerElement | undefined): Map<string, Buffer> {
  const extensions = new Map<string, Buffer>();
  if (wrapper === undefined) return extensions;
  const list = new DerSequence(new DerSequence(wrapper, 0xa3).take(derTag.sequence));
  for (const element of list.takeRest()) {
    const extension = new DerSequence(element);
    const identifier = readObjectIdentifier(extension.takeAny());
    extension.takeIf(derTag.boolean);
    extensions.set(identifier, extension.take(derTag.octetString).content);
  }
  return extensions;
}

function octets(element: DerElement): Buffer {
  if (element.tag !== derTag.octetString) throw new DerError('a key identifier that is not an octet string');
  return element.content;
}

function readKeyUsage(element: DerElement): string[] {
  if (element.tag !== derTag.bitString) throw new DerError('a key usage that is not a bit string');
  const bits = element.content.subarray(1);
  return keyUsageNames.filter((_, bit) => ((bits[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0);
}

/** Formats a DER Name as `O=Acme, CN=signing`, in the order of the encoding. @throws DerError */
export function formatDistinguishedName(name: Buffer): string {
  return new DerSequence(readDer(name))
    .takeRest()
    .map((set) =>
      new DerSequence(set, derTag.set)
        .takeRest()
        .map((element) => formatAttribute(new DerSequence(element)))
        .join(' + '),
    )
    .join(', ');
}

function formatAttribute(attribute: DerSequence): string {
  const type = readObjectIdentifier(attribute.takeAny());
  const value = decodeString(attribute.takeAny());
  attribute.end();
  return `${attributeNames.get(type) ?? type}=${value}`;
}

function decodeString({ tag, content }: DerElement): string {
  if ((tag & 0x20) !== 0) throw new DerError('a name whose value is not a string');
  if (tag !== bmpString) return printable(content.toString(tag === derTag.utf8String ? 'utf8' : 'latin1'));
  if (content.length % 2 !== 0) throw new DerError('a string that is cut short');
  return printable(Buffer.from(content).swap16().toString('utf16le'));
}
