import {
  type CertificateSignature,
  certificateSignatureOf,
  curveOf,
  identifierOf,
  oid,
} from './algorithms.ts';
import { type BerElement, BerReader } from './ber-reader.ts';
import { derTag } from './der.ts';
import { malformed, SignatureRefusal } from '../model/errors.ts';

/** A certificate as the kernel reads it. */
export interface ParsedCertificate {
  readonly bytes: Buffer;
  /** Serial number and issuer, by which signers and certificates refer to it. */
  readonly id: Buffer;
  readonly subjectKeyIdentifier: Buffer | null;
  /** `id` of the issuer's certificate, if the certificate gives it. */
  readonly authorityId: Buffer | null;
  readonly authorityKeyIdentifier: Buffer | null;
  /** Whether issuer and subject are the same name. */
  readonly isSelfIssued: boolean;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** `rsa`, or `ecdsa-` followed by the curve. */
  readonly keyAlgorithm: string;
  /** SubjectPublicKeyInfo. */
  readonly publicKey: Buffer;
  /** The signed part (TBSCertificate). */
  readonly toBeSigned: Buffer;
  readonly signedBy: CertificateSignature;
  readonly signature: Buffer;
}

const extension = { subjectKeyIdentifier: '2.5.29.14', authorityKeyIdentifier: '2.5.29.35' } as const;
const constructed = 0x20;

/**
 * Parses a certificate as the kernel does (crypto/asymmetric_keys/x509_cert_parser.c, x509.asn1); bytes may
 * follow it. Does not verify a self-signature. @throws SignatureRefusal
 */
export function parseCertificate(bytes: Buffer): ParsedCertificate {
  return new CertificateReader(bytes).read();
}

/**
 * Parses a UTCTime or GeneralizedTime as the kernel does, into milliseconds since the epoch.
 * @throws SignatureRefusal
 */
export function parseTime({ tag, content }: Pick<BerElement, 'tag' | 'content'>): number {
  const pattern = tag === derTag.utcTime ? /^(\d\d)(\d{10})Z$/ : /^(\d{4})(\d{10})Z$/;
  const [, yearText = '', rest = ''] = pattern.exec(content.toString('latin1')) ?? [];
  const short = Number(yearText);
  const year = tag !== derTag.utcTime ? short : short + (short >= 50 ? 1900 : 2000);
  const [month = 0, day = 0, hour = 0, minute = 0, second = 0] = (rest.match(/../g) ?? []).map(Number);
  const isLong = tag === derTag.generalizedTime;
  const lastDay = new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate();
  if (
    (!isLong && tag !== derTag.utcTime) ||
    rest === '' ||
    (isLong && year >= 1950 && year <= 2049) ||
    year < 1970 ||
    month < 1 ||
    month > 12 ||
    day < 1 ||
    day > lastDay ||
    hour > 24 ||
    minute > 59 ||
    second > 60
  )
    throw malformed('it contains an invalid time');
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/** Reads a Name and returns its contents. @throws SignatureRefusal */
export function readName(reader: BerReader): Buffer {
  return reader.list(derTag.sequence, () =>
    reader.list(derTag.set, () =>
      reader.inside(derTag.sequence, () => {
        reader.leaf(derTag.objectIdentifier);
        reader.leaf();
      }),
    ),
  ).content;
}

class CertificateReader {
  readonly #bytes: Buffer;
  readonly #reader: BerReader;
  #serialNumber: Buffer = Buffer.alloc(0);
  #issuer: Buffer = Buffer.alloc(0);
  #subject: Buffer = Buffer.alloc(0);
  #validity: [number, number] = [0, 0];
  #keyAlgorithm = '';
  #publicKey: Buffer = Buffer.alloc(0);
  #signedBy: CertificateSignature = { hash: 'sha1', key: 'rsa' };
  #signatureAlgorithm = '';
  #subjectKeyIdentifier: Buffer | null = null;
  #authority: Buffer | null = null;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#reader = new BerReader(bytes);
  }

  read(): ParsedCertificate {
    const reader = this.#reader;
    let toBeSigned: Buffer = Buffer.alloc(0);
    let signature: Buffer = Buffer.alloc(0);
    reader.inside(derTag.sequence, () => {
      toBeSigned = reader.inside(derTag.sequence, () => this.#readToBeSigned()).bytes;
      if (this.#readAlgorithm().identifier !== this.#signatureAlgorithm)
        throw new SignatureRefusal('EINVAL', 'it contains a certificate that names two signature algorithms');
      signature = bits(reader.leaf(derTag.bitString));
    });
    const { authorityId, authorityKeyIdentifier } = readAuthority(this.#authority);
    return {
      bytes: this.#bytes,
      id: Buffer.concat([this.#serialNumber, this.#issuer]),
      subjectKeyIdentifier: this.#subjectKeyIdentifier,
      authorityId,
      authorityKeyIdentifier,
      isSelfIssued: this.#subject.equals(this.#issuer),
      notBefore: this.#validity[0],
      notAfter: this.#validity[1],
      keyAlgorithm: this.#keyAlgorithm,
      publicKey: this.#publicKey,
      toBeSigned,
      signedBy: this.#signedBy,
      signature,
    };
  }

  #readToBeSigned(): void {
    const reader = this.#reader;
    if (reader.nextIs(0xa0)) reader.inside(0xa0, () => reader.leaf(derTag.integer));
    this.#serialNumber = reader.leaf(derTag.integer).content;
    this.#signatureAlgorithm = this.#readAlgorithm().identifier;
    this.#signedBy = certificateSignatureOf(this.#signatureAlgorithm);
    this.#issuer = readName(reader);
    reader.inside(derTag.sequence, () => {
      const notBefore = parseTime(reader.leaf());
      // If notAfter is missing, the kernel uses notBefore.
      this.#validity = [notBefore, reader.isAtEnd ? notBefore : parseTime(reader.leaf())];
    });
    this.#subject = readName(reader);
    this.#publicKey = reader.inside(derTag.sequence, () => {
      this.#keyAlgorithm = keyAlgorithmOf(this.#readAlgorithm());
      bits(reader.leaf(derTag.bitString));
    }).bytes;
    for (const uniqueIdentifier of [0x81, 0x82]) {
      if (reader.nextIs(uniqueIdentifier)) reader.leaf(uniqueIdentifier);
    }
    if (reader.nextIs(0xa3))
      reader.inside(0xa3, () => reader.list(derTag.sequence, () => this.#readExtension()));
  }

  #readAlgorithm(): { identifier: string; parameters: BerElement | undefined } {
    const reader = this.#reader;
    let identifier = '';
    let parameters: BerElement | undefined;
    reader.inside(derTag.sequence, () => {
      identifier = identifierOf(reader.leaf(derTag.objectIdentifier).content);
      if (!reader.isAtEnd) parameters = reader.leaf();
    });
    return { identifier, parameters };
  }

  #readExtension(): void {
    const reader = this.#reader;
    reader.inside(derTag.sequence, () => {
      const identifier = identifierOf(reader.leaf(derTag.objectIdentifier).content);
      if (reader.nextIs(derTag.boolean)) reader.leaf(derTag.boolean);
      const { content } = reader.leaf(derTag.octetString);
      if (identifier === extension.authorityKeyIdentifier) this.#authority = content;
      if (identifier !== extension.subjectKeyIdentifier) return;
      const isWellFormed = content[0] === derTag.octetString && content[1] === content.length - 2;
      if (this.#subjectKeyIdentifier !== null || content.length < 3 || !isWellFormed)
        throw malformed('it contains an invalid key identifier');
      this.#subjectKeyIdentifier = content.subarray(2);
    });
  }
}

function bits({ content }: BerElement): Buffer {
  if (content[0] !== 0) throw malformed('it contains a bit string that is not of whole octets');
  return content.subarray(1);
}

function keyAlgorithmOf({
  identifier,
  parameters,
}: {
  identifier: string;
  parameters: BerElement | undefined;
}): string {
  switch (identifier) {
    case oid.rsaEncryption:
      return 'rsa';
    case oid.ecPublicKey: {
      const { bytes, content } = parameters ?? { bytes: Buffer.alloc(0), content: Buffer.alloc(0) };
      if (bytes[0] !== derTag.objectIdentifier || bytes[1] !== bytes.length - 2)
        throw malformed('it contains a certificate that does not name its curve');
      return curveOf(identifierOf(content));
    }
    default:
      throw new SignatureRefusal('ENOPKG', `it contains a certificate with a key of the kind ${identifier}`);
  }
}

/** Reads an AuthorityKeyIdentifier as the kernel does (x509_akid.asn1). */
function readAuthority(
  extensionValue: Buffer | null,
): Pick<ParsedCertificate, 'authorityId' | 'authorityKeyIdentifier'> {
  if (extensionValue === null) return { authorityId: null, authorityKeyIdentifier: null };
  const reader = new BerReader(extensionValue);
  let authorityKeyIdentifier: Buffer | null = null;
  let authorityId: Buffer | null = null;
  let issuer: Buffer | null = null;
  reader.inside(derTag.sequence, () => {
    if (reader.nextIs(0x80)) authorityKeyIdentifier = reader.leaf(0x80).content;
    if (reader.nextIs(0xa1)) reader.list(0xa1, () => void (reader.isAtEnd || readGeneralName()));
    if (!reader.nextIs(0x82)) return;
    const { content } = reader.leaf(0x82);
    if (issuer !== null) authorityId = Buffer.concat([content, issuer]);
  });
  return { authorityId, authorityKeyIdentifier };

  function readGeneralName(): void {
    const directoryName = 4;
    const inner = [undefined, 0x16, 0x16, undefined, undefined, undefined, 0x16, 0x04, 0x06];
    const kind = inner.findIndex((_, number) => reader.nextIs(0x80 | constructed | number));
    if (kind < 0) throw malformed('it contains a certificate that names its authority in an unknown way');
    reader.inside(0x80 | constructed | kind, () => {
      if (kind === directoryName) issuer = readName(reader);
      else reader.leaf(inner[kind]);
    });
  }
}
