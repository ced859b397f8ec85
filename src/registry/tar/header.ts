import { type LentChunk, isUtf8Chunk } from '../../shared/chunks.ts';

/** A header block as stored, before extension headers are applied. */
export interface BlockHeader {
  readonly typeFlag: string;
  readonly name: string;
  readonly linkName: string;
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
  readonly userName: string;
  readonly groupName: string;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

type Format = 'v7' | 'ustar' | 'star' | 'gnu';

/**
 * Parses a header block as Go's archive/tar does. Returns undefined if the checksum or a number is invalid.
 */
export function parseHeader(block: LentChunk): BlockHeader | undefined {
  if (!hasValidChecksum(block)) return undefined;
  const format = detectFormat(block);
  const extended = format !== 'v7';
  const prefix = parsePrefix(block, format);
  if (prefix === undefined) return undefined;
  const name = parseText(block, 0, 100);
  const header: BlockHeader = {
    typeFlag: String.fromCharCode(block[156] ?? 0),
    name: prefix === '' ? name : `${prefix}/${name}`,
    linkName: parseText(block, 157, 257),
    size: parseNumber(block, 124, 136),
    mode: parseNumber(block, 100, 108),
    uid: parseNumber(block, 108, 116),
    gid: parseNumber(block, 116, 124),
    mtime: parseNumber(block, 136, 148),
    userName: extended ? parseText(block, 265, 297) : '',
    groupName: extended ? parseText(block, 297, 329) : '',
    deviceMajor: extended ? parseNumber(block, 329, 337) : 0,
    deviceMinor: extended ? parseNumber(block, 337, 345) : 0,
  };
  return hasNumbers(header) ? header : undefined;
}

function hasNumbers({ size, mode, uid, gid, mtime, deviceMajor, deviceMinor }: BlockHeader): boolean {
  return !Number.isNaN(size + mode + uid + gid + mtime + deviceMajor + deviceMinor);
}

function detectFormat(block: LentChunk): Format {
  const magic = block.toString('latin1', 257, 263);
  if (magic === 'ustar\0') return block.toString('latin1', 508, 512) === 'tar\0' ? 'star' : 'ustar';
  return magic === 'ustar ' && block.toString('latin1', 263, 265) === ' \0' ? 'gnu' : 'v7';
}

function parsePrefix(block: LentChunk, format: Format): string | undefined {
  switch (format) {
    case 'v7':
      return '';
    case 'ustar':
      return parseText(block, 345, 500);
    case 'star': {
      const times = parseNumber(block, 476, 488) + parseNumber(block, 488, 500);
      return Number.isNaN(times) ? undefined : parseText(block, 345, 476);
    }
    case 'gnu':
      return parseGnuPrefix(block);
  }
}

/**
 * The GNU format has no prefix, but Go before 1.8 wrote one in place of the access and change times. Go reads
 * it if these are not numbers (https://golang.org/issues/12594).
 */
function parseGnuPrefix(block: LentChunk): string {
  const accessTime = block[345] === 0 ? 0 : parseNumber(block, 345, 357);
  const changeTime = block[357] === 0 ? 0 : parseNumber(block, 357, 369);
  if (!Number.isNaN(accessTime + changeTime)) return '';
  const prefix = parseText(block, 345, 500);
  return /[^\p{ASCII}]/u.test(prefix) ? '' : prefix;
}

/** Size of a tar block in bytes; headers and padded content are multiples of it. */
export const blockSize = 512;

const space = 0x20;
const zeroDigit = 0x30;

/** Returns the number of padding bytes after `size` bytes of content. */
export function paddingOf(size: number): number {
  return (blockSize - (size % blockSize)) % blockSize;
}

/**
 * Decodes bytes without loss: bytes that are not UTF-8 become lone surrogates, U+DC80 for the byte 0x80 and
 * so on.
 */
export function decodeText(bytes: LentChunk): string {
  if (isUtf8Chunk(bytes)) return bytes.toString('utf8');
  let text = '';
  let start = 0;
  while (start < bytes.length) {
    const length = characterLength(bytes, start);
    text +=
      length === 0
        ? String.fromCharCode(0xdc00 + (bytes[start] ?? 0))
        : bytes.toString('utf8', start, start + length);
    start += Math.max(length, 1);
  }
  return text;
}

/** The inverse of {@link decodeText}. */
export function encodeText(text: string): Buffer {
  if (text.isWellFormed()) return Buffer.from(text, 'utf8');
  const parts: Buffer[] = [];
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    parts.push(code >= 0xdc80 && code <= 0xdcff ? Buffer.of(code - 0xdc00) : Buffer.from(character, 'utf8'));
  }
  return Buffer.concat(parts);
}

/** Returns the length in bytes of the UTF-8 character at `start`; 0 if there is none. */
function characterLength(bytes: LentChunk, start: number): number {
  for (let length = 1; length <= 4 && start + length <= bytes.length; length++) {
    if (isUtf8Chunk(bytes.subarray(start, start + length))) return length;
  }
  return 0;
}

/** Decodes a field that ends at its first NUL, or at its end. */
export function parseText(block: LentChunk, start: number, end: number): string {
  let stop = start;
  let ascii = true;
  for (; stop < end; stop++) {
    const byte = block[stop] ?? 0;
    if (byte === 0) break;
    if (byte >= 0x80) ascii = false;
  }
  if (stop === start) return '';
  return ascii ? block.toString('latin1', start, stop) : decodeText(block.subarray(start, stop));
}

/**
 * Parses a numeric field: octal, or base-256 when its first bit is set. NaN if it is malformed or does not
 * fit in 64 bits.
 */
export function parseNumber(block: LentChunk, start: number, end: number): number {
  return ((block[start] ?? 0) & 0x80) === 0 ? parseOctal(block, start, end) : parseBase256(block, start, end);
}

/** Parses an octal field, which spaces and NULs may surround. An empty one is 0, a malformed one NaN. */
function parseOctal(block: LentChunk, start: number, end: number): number {
  let from = start;
  let to = end;
  while (from < to && isBlank(block[from])) from++;
  while (to > from && isBlank(block[to - 1])) to--;
  let value = 0;
  for (let at = from; at < to; at++) {
    const byte = block[at] ?? 0;
    if (byte === 0) break;
    const digit = byte - zeroDigit;
    if (digit < 0 || digit > 7) return Number.NaN;
    value = value * 8 + digit;
  }
  return value;
}

function isBlank(byte: number | undefined): boolean {
  return byte === space || byte === 0;
}

function parseBase256(block: LentChunk, start: number, end: number): number {
  const bits = BigInt((end - start) * 8 - 1);
  const value = BigInt.asIntN(Number(bits), BigInt(`0x${block.toString('hex', start, end)}`));
  return value === BigInt.asIntN(64, value) ? Number(value) : Number.NaN;
}

/** Writes a number as octal digits with a trailing NUL, or in base-256 if it has too many digits. */
export function writeNumber(block: Buffer, start: number, end: number, value: number): void {
  const digits = end - start - 1;
  if (value >= 0 && value < 8 ** digits) {
    block.write(`${value.toString(8).padStart(digits, '0')}\0`, start, 'latin1');
    return;
  }
  let rest = BigInt(value);
  for (let at = end - 1; at >= start; at--) {
    block[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  block[start] = (block[start] ?? 0) | 0x80;
}

const checksumStart = 148;
const checksumEnd = 156;

/** Tells whether the checksum of a header block is correct, summed over unsigned or signed bytes. */
export function hasValidChecksum(block: LentChunk): boolean {
  const stored = parseOctal(block, checksumStart, checksumEnd);
  const { unsigned, high } = sumBytes(block);
  return stored === unsigned || stored === unsigned - 256 * high;
}

/** Computes and stores the checksum of a header block. */
export function writeChecksum(block: Buffer): void {
  const { unsigned } = sumBytes(block);
  block.write(`${unsigned.toString(8).padStart(6, '0')}\0 `, checksumStart, 'latin1');
}

/** Sums a header's bytes, with the checksum field read as spaces, and counts those with the top bit set. */
function sumBytes(block: LentChunk): { unsigned: number; high: number } {
  let unsigned = space * (checksumEnd - checksumStart);
  let high = 0;
  for (let at = 0; at < blockSize; at++) {
    if (at === checksumStart) at = checksumEnd;
    const byte = block[at] ?? 0;
    unsigned += byte;
    high += byte >> 7;
  }
  return { unsigned, high };
}
