/** Tags of ITU-T X.690 that module signatures and certificates use. */
export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Bytes that are not DER. Callers turn this into an error that names what was read. */
export class DerError extends Error {
  override readonly name = 'DerError';
}

/** One element. Its children are parsed on request, so nesting costs nothing. */
export interface DerElement {
  /** The identifier octet. */
  readonly tag: number;
  /** Header and contents, as read. */
  readonly bytes: Buffer;
  readonly content: Buffer;
}

/** The lengths of a header and of the contents that it announces. */
export interface DerHeader {
  readonly tag: number;
  readonly headerLength: number;
  readonly contentLength: number;
}

// Four octets of length: 4 GiB, more than anything read here.
const maxLengthOctets = 4;
// Certificates and signatures have tens; a hostile file could hold half a million in a megabyte.
const maxChildren = 1000;

/**
 * Reads the header of the element at the start of `bytes`, which may end before its contents do. Accepts only
 * DER: low tag numbers, and definite lengths in their shortest form. @throws DerError
 */
export function readDerHeader(bytes: Buffer): DerHeader {
  const [tag, first] = bytes;
  if (tag === undefined || first === undefined) throw new DerError('an element is cut short');
  if ((tag & 0x1f) === 0x1f) throw new DerError('a tag number greater than 30');
  if (first < 0x80) return { tag, headerLength: 2, contentLength: first };
  const octets = first & 0x7f;
  if (octets === 0 || octets > maxLengthOctets)
    throw new DerError('a length that is indefinite or too large');
  if (bytes.length < 2 + octets) throw new DerError('an element is cut short');
  const contentLength = bytes.readUIntBE(2, octets);
  if (contentLength < 0x80 || contentLength < 2 ** (8 * (octets - 1))) {
    throw new DerError('a length that is not in its shortest form');
  }
  return { tag, headerLength: 2 + octets, contentLength };
}

/** Reads the single element that `bytes` hold; nothing may follow it. @throws DerError */
export function readDer(bytes: Buffer): DerElement {
  const element = readFirst(bytes);
  if (element.bytes.length !== bytes.length) throw new DerError('bytes follow the end');
  return element;
}

/** Returns the elements inside a constructed element. @throws DerError */
export function derChildren(parent: DerElement): DerElement[] {
  if ((parent.tag & 0x20) === 0) throw new DerError('an element that should hold others is primitive');
  const children: DerElement[] = [];
  for (let at = 0; at < parent.content.length;) {
    if (children.length === maxChildren) throw new DerError('too many elements');
    const child = readFirst(parent.content.subarray(at));
    children.push(child);
    at += child.bytes.length;
  }
  return children;
}

function readFirst(bytes: Buffer): DerElement {
  const { tag, headerLength, contentLength } = readDerHeader(bytes);
  const end = headerLength + contentLength;
  if (end > bytes.length) throw new DerError('an element is cut short');
  return { tag, bytes: bytes.subarray(0, end), content: bytes.subarray(headerLength, end) };
}

/** Takes elements from a list in order, each checked for its tag. */
export class DerSequence {
  readonly #elements: DerElement[];
  #next = 0;

  /** @throws DerError */
  constructor(parent: DerElement, tag: number = derTag.sequence) {
    if (parent.tag !== tag) throw unexpected(parent.tag, tag);
    this.#elements = derChildren(parent);
  }

  /** Takes the next element, which must have this tag. @throws DerError */
  take(tag: number): DerElement {
    const element = this.takeAny();
    if (element.tag !== tag) throw unexpected(element.tag, tag);
    return element;
  }

  /** Takes the next element if it has this tag. */
  takeIf(tag: number): DerElement | undefined {
    const element = this.#elements[this.#next];
    if (element?.tag !== tag) return undefined;
    this.#next += 1;
    return element;
  }

  /** Takes the next element, whatever its tag. @throws DerError */
  takeAny(): DerElement {
    const element = this.#elements[this.#next];
    if (element === undefined) throw new DerError('an element is missing');
    this.#next += 1;
    return element;
  }

  /** Takes all remaining elements. */
  takeRest(): DerElement[] {
    const rest = this.#elements.slice(this.#next);
    this.#next = this.#elements.length;
    return rest;
  }

  /** Checks that no element is left. @throws DerError */
  end(): void {
    if (this.#next < this.#elements.length) throw new DerError('an unexpected element');
  }
}

function unexpected(tag: number, expected: number): DerError {
  return new DerError(`tag 0x${tag.toString(16)} instead of 0x${expected.toString(16)}`);
}

/** Returns the dotted form of an OBJECT IDENTIFIER. @throws DerError */
export function readObjectIdentifier(element: DerElement): string {
  if (element.tag !== derTag.objectIdentifier) throw unexpected(element.tag, derTag.objectIdentifier);
  const arcs: bigint[] = [];
  let value = 0n;
  let open = true;
  if (element.content.length > 64) throw new DerError('an object identifier that is too long');
  for (const octet of element.content) {
    value = (value << 7n) | BigInt(octet & 0x7f);
    open = (octet & 0x80) !== 0;
    if (open) continue;
    arcs.push(value);
    value = 0n;
  }
  const [first, ...rest] = arcs;
  if (open || first === undefined) throw new DerError('an object identifier that is cut short');
  const root = first < 80n ? first / 40n : 2n;
  return [root, first - root * 40n, ...rest].join('.');
}

/** Encodes an element with the given identifier octet. */
export function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const length = contents.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([encodeHeader(tag, length), ...contents]);
}

function encodeHeader(tag: number, length: number): Buffer {
  if (length < 0x80) return Buffer.from([tag, length]);
  const octets = length < 0x100 ? 1 : length < 0x10000 ? 2 : length < 0x1000000 ? 3 : 4;
  const header = Buffer.alloc(2 + octets);
  header[0] = tag;
  header[1] = 0x80 | octets;
  header.writeUIntBE(length, 2, octets);
  return header;
}

/** Encodes a non-negative INTEGER given as big-endian bytes. */
export function derUnsignedInteger(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const digits = bytes.length === 0 ? Buffer.from([0]) : bytes.subarray(start);
  return (digits[0] ?? 0) > 0x7f
    ? der(derTag.integer, Buffer.from([0]), digits)
    : der(derTag.integer, digits);
}

/** Encodes an OBJECT IDENTIFIER given in dotted form. */
export function derObjectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const octets = [first * 40 + second, ...rest].flatMap((arc) => {
    const groups = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
      groups.unshift((left % 128) | 0x80);
    return groups;
  });
  return der(derTag.objectIdentifier, Buffer.from(octets));
}
