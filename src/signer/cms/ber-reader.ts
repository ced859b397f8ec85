import { malformed, SignatureRefusal } from '../model/errors.ts';

/** One element, as the kernel's decoder passes it on. */
export interface BerElement {
  /** The identifier octet as encoded; 0 for an element that was read part by part. */
  readonly tag: number;
  /** Contents without header and end marker. */
  readonly content: Buffer;
  /** Everything from the header on. */
  readonly bytes: Buffer;
}

/** The most that the decoder can address (lib/asn1_decoder.c). */
const maxMessageLength = 65_535;
const constructedBit = 0x20;
const longTag = 0x1f;
const indefinite = 0x80;
/** Limits on the octets of a length: for elements that are parsed, and for those that are skipped. */
const maxLengthOctets = 2;
const maxSkippedLengthOctets = 7;

interface Header {
  readonly tag: number;
  /** Offset of the header. */
  readonly start: number;
  /** null: indefinite, up to an end marker. */
  readonly length: number | null;
}

/**
 * Reads BER as the kernel does (lib/asn1_decoder.c), neither more strictly nor more leniently: lengths may be
 * longer than necessary or indefinite, constructed elements may lack the constructed bit, and anything after
 * the first element is ignored. @throws SignatureRefusal from every method that reads
 */
export class BerReader {
  readonly #bytes: Buffer;
  #at = 0;
  /** End of the innermost element of known length. */
  #end: number;

  constructor(bytes: Buffer) {
    if (bytes.length > maxMessageLength)
      throw new SignatureRefusal('EMSGSIZE', `longer than ${maxMessageLength} bytes`);
    this.#bytes = bytes;
    this.#end = bytes.length;
  }

  /** Whether the innermost element of known length is exhausted. */
  get isAtEnd(): boolean {
    return this.#at === this.#end;
  }

  /** Returns whether an element with this tag comes next; false at the end. */
  nextIs(tag: number): boolean {
    if (this.isAtEnd) return false;
    return tagMatches(this.#peekTag(), tag);
  }

  /** Reads an element without parsing its contents; any tag is accepted if none is given. */
  leaf(tag?: number): BerElement {
    const header = this.#readHeader(tag);
    const from = this.#at;
    if (header.length !== null) {
      this.#at += header.length;
      return this.#element(header, from, this.#at);
    }
    this.#skipToEndMarker();
    // The kernel counts the end marker of such an element as part of its contents.
    return this.#element(header, from, this.#at);
  }

  /** Reads a constructed element; `read` reads its parts. */
  inside(tag: number, read: () => void): BerElement {
    return this.#constructed(tag, read, false);
  }

  /** Reads an element that holds one or more parts; `read` reads one. */
  list(tag: number, read: () => void): BerElement {
    return this.#constructed(tag, read, true);
  }

  #constructed(tag: number, read: () => void, isList: boolean): BerElement {
    const header = this.#readHeader(tag);
    const from = this.#at;
    const outerEnd = this.#end;
    if (header.length !== null) this.#end = from + header.length;
    do read();
    while (!this.#leave(header, isList));
    const to = header.length === null ? this.#at - 2 : this.#at;
    this.#end = outerEnd;
    return { ...this.#element(header, from, to), tag: 0 };
  }

  /** Returns whether the element has ended; false if a list continues. */
  #leave({ length }: Header, isList: boolean): boolean {
    if (length !== null) {
      if (this.#at === this.#end) return true;
      if (isList && this.#at < this.#end) return false;
      throw malformed('the length of an element is wrong');
    }
    if (this.#end - this.#at < 2) throw malformed('an element is cut short');
    if (this.#bytes[this.#at] !== 0) {
      if (isList) return false;
      throw malformed('an end marker is missing');
    }
    if (this.#bytes[this.#at + 1] !== 0) throw malformed('an end marker has contents');
    this.#at += 2;
    return true;
  }

  #peekTag(): number {
    if (this.#end - this.#at < 2) throw malformed('an element is cut short');
    const tag = this.#bytes[this.#at] ?? 0;
    if ((tag & longTag) === longTag) throw malformed('a tag number greater than 30');
    return tag;
  }

  #readHeader(expected: number | undefined): Header {
    const start = this.#at;
    const tag = this.#peekTag();
    if (expected !== undefined && !tagMatches(tag, expected))
      throw malformed(`tag 0x${tag.toString(16)} instead of 0x${expected.toString(16)}`);
    this.#at += 1;
    const first = this.#octet();
    if (first === indefinite) {
      if ((tag & constructedBit) === 0) throw malformed('an indefinite length that is not allowed here');
      if (this.#end - this.#at < 2) throw malformed('an element is cut short');
      return { tag, start, length: null };
    }
    return { tag, start, length: this.#length(first, maxLengthOctets) };
  }

  #octet(): number {
    const octet = this.#bytes[this.#at];
    if (this.#at >= this.#end || octet === undefined) throw malformed('an element is cut short');
    this.#at += 1;
    return octet;
  }

  #length(first: number, maxOctets: number): number {
    let length = first;
    if (first > indefinite) {
      const octets = first - indefinite;
      if (octets > maxOctets) throw malformed('a length of too many octets');
      length = 0;
      for (let read = 0; read < octets; read += 1) length = length * 256 + this.#octet();
    }
    if (length > this.#end - this.#at) throw malformed('an element is cut short');
    return length;
  }

  /** Skips elements of any depth up to the end marker of the current one. */
  #skipToEndMarker(): void {
    for (let open = 1; open > 0;) {
      if (this.#end - this.#at < 2) throw malformed('an end marker is missing');
      let tag = this.#octet();
      if (tag === 0) {
        if (this.#octet() !== 0) throw malformed('an end marker has contents');
        open -= 1;
        continue;
      }
      const isConstructed = (tag & constructedBit) !== 0;
      if ((tag & longTag) === longTag) {
        do {
          if (this.#end - this.#at < 2) throw malformed('an element is cut short');
          tag = this.#octet();
        } while ((tag & 0x80) !== 0);
      }
      const first = this.#octet();
      if (first === indefinite) {
        // For a long tag, the kernel checks the octet that it read last: if in doubt, the element is refused.
        if (!isConstructed || (tag & constructedBit) === 0)
          throw malformed('an indefinite length that is not allowed here');
        open += 1;
        continue;
      }
      this.#at += this.#length(first, maxSkippedLengthOctets);
    }
  }

  #element({ tag, start }: Header, from: number, to: number): BerElement {
    return { tag, content: this.#bytes.subarray(from, to), bytes: this.#bytes.subarray(start, this.#at) };
  }
}

/** A constructed tag also matches the same tag without the constructed bit, but not the reverse. */
function tagMatches(tag: number, expected: number): boolean {
  return ((tag ^ expected) & ~(expected & constructedBit)) === 0;
}
