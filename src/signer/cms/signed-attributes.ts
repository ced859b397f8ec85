import { identifierOf } from './algorithms.ts';
import type { BerElement, BerReader } from './ber-reader.ts';
import { derTag } from './der.ts';
import { parseTime } from './parse-certificate.ts';
import { malformed, SignatureRefusal } from '../model/errors.ts';

/** The result of reading a signer's attributes. */
export interface SignedAttributes {
  /** Whether they have the form that the kernel treats as signed; it reads and ignores the other form. */
  readonly areSigned: boolean;
  /** Milliseconds since the epoch. */
  readonly signingTime: number | null;
}

/** Attributes of PKCS #9, and Microsoft's. */
const attribute = {
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
  signingTime: '1.2.840.113549.1.9.5',
  mailCapabilities: '1.2.840.113549.1.9.15',
  statementType: '1.3.6.1.4.1.311.2.1.11',
  programInfo: '1.3.6.1.4.1.311.2.1.12',
} as const;

const known: ReadonlySet<string> = new Set(Object.values(attribute));

/** Reads a signer's attributes with the kernel's checks (pkcs7_sig_note_authenticated_attr). */
export class SignedAttributesReader {
  readonly #reader: BerReader;
  readonly #contentType: string;
  readonly #seen = new Set<string>();
  #signingTime: number | null = null;

  constructor(reader: BerReader, contentType: string) {
    this.#reader = reader;
    this.#contentType = contentType;
  }

  /** Reads the attributes that come next; undefined if there are none. @throws SignatureRefusal */
  read(): SignedAttributes | undefined {
    const reader = this.#reader;
    const readOne = () => this.#readAttribute();
    if (reader.nextIs(0xa0)) {
      reader.list(0xa0, readOne);
      if (!this.#seen.has(attribute.contentType) || !this.#seen.has(attribute.messageDigest))
        throw malformed('without a required signed attribute');
      return { areSigned: true, signingTime: this.#signingTime };
    }
    if (!reader.nextIs(0xa2)) return undefined;
    reader.inside(0xa2, () => reader.list(derTag.sequence, readOne));
    return { areSigned: false, signingTime: this.#signingTime };
  }

  #readAttribute(): void {
    const reader = this.#reader;
    reader.inside(derTag.sequence, () => {
      const type = identifierOf(reader.leaf(derTag.objectIdentifier).content);
      reader.list(derTag.set, () => this.#checkAttribute(type, reader.leaf()));
    });
  }

  #checkAttribute(type: string, value: BerElement): void {
    if (!known.has(type)) return;
    if (this.#seen.has(type)) throw new SignatureRefusal('EKEYREJECTED', 'with a repeated signed attribute');
    this.#seen.add(type);
    switch (type) {
      case attribute.contentType:
        if (identifierOf(value.content) !== this.#contentType)
          throw malformed('a signed attribute gives another content type');
        break;
      case attribute.messageDigest:
        if (value.tag !== derTag.octetString) throw malformed('a signed digest is not an octet string');
        break;
      case attribute.signingTime:
        this.#signingTime = parseTime(value);
        break;
      default:
        // These are Microsoft's Authenticode attributes, which are never used to sign modules.
        throw new SignatureRefusal('EKEYREJECTED', `with the signed attribute ${type}`);
    }
  }
}
