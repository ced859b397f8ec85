import type { HashAlgorithm } from '../model/module.ts';
import {
  digestAlgorithmOf,
  identifierOf,
  type KeyAlgorithm,
  oid,
  signatureAlgorithmOf,
} from './algorithms.ts';
import { BerReader } from './ber-reader.ts';
import { derTag } from './der.ts';
import { type ParsedCertificate, parseCertificate, readName } from './parse-certificate.ts';
import { malformed, SignatureRefusal } from '../model/errors.ts';
import { SignedAttributesReader } from './signed-attributes.ts';

/** How a SignerInfo identifies its signer: the contents of the fields as encoded. */
export type SignerIdentifier =
  | { readonly form: 'issuer-and-serial'; readonly issuer: Buffer; readonly serialNumber: Buffer }
  | { readonly form: 'key-identifier'; readonly keyIdentifier: Buffer };

/** One signer of a SignedData. */
export interface SignerInfo {
  readonly identifier: SignerIdentifier;
  /** What the kernel looks up the signer's key by: serial number and issuer, or the key identifier. */
  readonly keyId: Buffer;
  readonly hash: HashAlgorithm;
  readonly keyAlgorithm: KeyAlgorithm;
  /** The kernel refuses modules whose signatures have signed attributes. */
  readonly hasSignedAttributes: boolean;
  /** Milliseconds since the epoch, from the signed attribute; used for nothing but the validity check. */
  readonly signingTime: number | null;
  readonly signature: Buffer;
}

/** The parts of a CMS SignedData that matter for module signatures. */
export interface SignedData {
  /** Object identifier of the signed content's type. */
  readonly contentType: string;
  /** The signed content is embedded; the kernel wants it detached. */
  readonly hasContent: boolean;
  /** Embedded certificates, as the kernel reads them. */
  readonly certificates: readonly ParsedCertificate[];
  readonly signers: readonly [SignerInfo, ...SignerInfo[]];
}

const versionWithIssuer = 1;
const versionWithKeyIdentifier = 3;

/**
 * Parses a CMS SignedData as the kernel does (crypto/asymmetric_keys/pkcs7_parser.c, pkcs7.asn1): accepts and
 * refuses what the kernel does. Where kernels differ, the strictest counts. @throws SignatureRefusal
 */
export function parseSignedData(bytes: Buffer): SignedData {
  return new SignedDataReader(bytes).read();
}

class SignedDataReader {
  readonly #reader: BerReader;
  readonly #signers: SignerInfo[] = [];
  readonly #certificates: ParsedCertificate[] = [];
  #version = 0;
  #contentType = '';
  #hasContent = false;
  /** State that the kernel carries over from one signer to the next. */
  #keyIdentifier: Buffer = Buffer.alloc(0);
  #issuer: Buffer = Buffer.alloc(0);
  #serialNumber: Buffer = Buffer.alloc(0);

  constructor(bytes: Buffer) {
    this.#reader = new BerReader(bytes);
  }

  read(): SignedData {
    const reader = this.#reader;
    reader.inside(derTag.sequence, () => {
      if (identifierOf(reader.leaf(derTag.objectIdentifier).content) !== oid.signedData)
        throw new SignatureRefusal('EINVAL', 'not of the type SignedData');
      if (reader.nextIs(0xa0)) reader.inside(0xa0, () => this.#readSignedData());
    });
    const [first, ...rest] = this.#signers;
    if (first === undefined) throw new SignatureRefusal('EINVAL', 'without a signer');
    if (rest.some(({ hasSignedAttributes }) => hasSignedAttributes !== first.hasSignedAttributes))
      throw new SignatureRefusal('EINVAL', 'with signed attributes for some signers but not all');
    return {
      contentType: this.#contentType,
      hasContent: this.#hasContent,
      certificates: this.#certificates,
      signers: [first, ...rest],
    };
  }

  #readSignedData(): void {
    const reader = this.#reader;
    reader.inside(derTag.sequence, () => {
      this.#version = this.#readVersion();
      this.#readListOfEither(derTag.set, derTag.sequence, () => this.#readAlgorithm());
      this.#readContentInfo();
      this.#readCertificates();
      this.#readRevocationLists();
      if (!reader.isAtEnd) this.#readListOfEither(derTag.set, derTag.sequence, () => this.#readSigner());
    });
  }

  #readVersion(): number {
    const { content } = this.#reader.leaf(derTag.integer);
    const [version] = content;
    if (content.length === 1 && (version === versionWithIssuer || version === versionWithKeyIdentifier))
      return version;
    throw new SignatureRefusal('EINVAL', 'of a version other than 1 and 3, in one octet');
  }

  #readContentInfo(): void {
    const reader = this.#reader;
    reader.inside(derTag.sequence, () => {
      this.#contentType = identifierOf(reader.leaf(derTag.objectIdentifier).content);
      if (!reader.nextIs(0xa0)) return;
      reader.inside(0xa0, () => reader.leaf());
      this.#hasContent = true;
    });
    if (this.#contentType !== oid.data && this.#contentType !== oid.indirectData)
      throw new SignatureRefusal('EINVAL', `over content of the type ${this.#contentType}`);
  }

  #readCertificates(): void {
    const reader = this.#reader;
    const readOne = () => this.#certificates.push(this.#readCertificate());
    if (reader.nextIs(0xa0)) reader.list(0xa0, () => void (reader.isAtEnd || readOne()));
    else if (reader.nextIs(0xa2)) reader.list(0xa2, readOne);
  }

  /** The kernel parses the entries of a list as certificates and keeps none. */
  #readRevocationLists(): void {
    const readList = () => this.#reader.list(derTag.sequence, () => this.#readCertificate());
    for (const tag of [0xa1, 0xa3]) {
      if (!this.#reader.nextIs(tag)) continue;
      this.#reader.list(tag, readList);
      return;
    }
  }

  #readCertificate(): ParsedCertificate {
    const { tag, bytes } = this.#reader.leaf();
    if (tag !== derTag.sequence) throw malformed('it contains an invalid certificate');
    return parseCertificate(bytes);
  }

  #readSigner(): void {
    let read: Omit<SignerInfo, 'identifier' | 'keyId'> | undefined;
    let version = 0;
    this.#reader.inside(derTag.sequence, () => {
      version = this.#readSignerVersion();
      this.#readIdentifier();
      read = this.#readAlgorithmsAndSignature();
    });
    if (read === undefined) return;
    if (this.#contentType === oid.indirectData && !read.hasSignedAttributes)
      throw malformed('without the signed attributes that its content requires');
    this.#signers.push({ ...this.#identify(version), ...read });
  }

  #readSignerVersion(): number {
    const version = this.#readVersion();
    if (version !== this.#version) throw malformed('it contains versions that contradict each other');
    return version;
  }

  #readAlgorithmsAndSignature(): Omit<SignerInfo, 'identifier' | 'keyId'> {
    const hash = digestAlgorithmOf(this.#readAlgorithm());
    const attributes = new SignedAttributesReader(this.#reader, this.#contentType).read();
    const keyAlgorithm = signatureAlgorithmOf(this.#readAlgorithm());
    const signature = this.#reader.leaf(derTag.octetString).content;
    this.#readUnsignedAttributes();
    return {
      hash,
      keyAlgorithm,
      hasSignedAttributes: attributes?.areSigned === true,
      signingTime: attributes?.signingTime ?? null,
      signature,
    };
  }

  /** The version decides which form counts, whatever forms are present. */
  #identify(version: number): Pick<SignerInfo, 'identifier' | 'keyId'> {
    if (version === versionWithKeyIdentifier) {
      const keyIdentifier = this.#keyIdentifier;
      return { identifier: { form: 'key-identifier', keyIdentifier }, keyId: keyIdentifier };
    }
    const issuer = this.#issuer;
    const serialNumber = this.#serialNumber;
    const keyId = Buffer.concat([serialNumber, issuer]);
    return { identifier: { form: 'issuer-and-serial', issuer, serialNumber }, keyId };
  }

  #readIdentifier(): void {
    const reader = this.#reader;
    if (!reader.nextIs(derTag.sequence)) {
      this.#keyIdentifier = reader.leaf(0x80).content;
      return;
    }
    reader.inside(derTag.sequence, () => {
      this.#issuer = readName(reader);
      this.#serialNumber = reader.leaf(derTag.integer).content;
    });
  }

  #readUnsignedAttributes(): void {
    const reader = this.#reader;
    for (const tag of [0xa1, 0xa3]) {
      if (!reader.nextIs(tag)) continue;
      reader.list(tag, () =>
        reader.inside(derTag.sequence, () => {
          reader.leaf(derTag.objectIdentifier);
          reader.list(derTag.set, () => reader.leaf());
        }),
      );
      return;
    }
  }

  /** Returns the object identifier of an AlgorithmIdentifier; its parameters are at most one element. */
  #readAlgorithm(): string {
    const reader = this.#reader;
    let identifier = '';
    reader.inside(derTag.sequence, () => {
      identifier = identifierOf(reader.leaf(derTag.objectIdentifier).content);
      if (!reader.isAtEnd) reader.leaf();
    });
    return identifier;
  }

  #readListOfEither(one: number, other: number, read: () => void): void {
    this.#reader.list(this.#reader.nextIs(one) ? one : other, read);
  }
}
