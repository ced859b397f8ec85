import { joinChunks, type LentChunk } from '../../shared/chunks.ts';
import { decodeText } from './header.ts';

/** Prefix of the PAX keys that hold extended attributes. */
export const extendedAttributePrefix = 'SCHILY.xattr.';

const textKeys: ReadonlySet<string> = new Set(['path', 'linkpath', 'uname', 'gname']);
const newline = 0x0a;
const shortestRecord = 5;
const int64Limit = 2n ** 63n;

/** One record of a PAX extended header (POSIX pax, "pax Extended Header"). */
export interface PaxRecord {
  readonly key: string;
  readonly value: LentChunk;
}

/**
 * Splits the body of a PAX header into its records. Returns undefined if it is malformed by the rules of Go's
 * archive/tar.
 */
export function parsePaxRecords(body: LentChunk): PaxRecord[] | undefined {
  const records: PaxRecord[] = [];
  let start = 0;
  while (start < body.length) {
    const space = body.indexOf(0x20, start);
    if (space === -1) return undefined;
    const length = parseDecimal(body.toString('latin1', start, space));
    const end = start + length;
    if (!(length >= shortestRecord && end <= body.length && end > space + 1)) return undefined;
    if (body[end - 1] !== newline) return undefined;
    const record = parseKeyAndValue(body.subarray(space + 1, end - 1));
    if (record === undefined) return undefined;
    records.push(record);
    start = end;
  }
  return records;
}

function parseKeyAndValue(bytes: LentChunk): PaxRecord | undefined {
  const equals = bytes.indexOf(0x3d);
  if (equals <= 0) return undefined;
  const key = decodeText(bytes.subarray(0, equals));
  const value = bytes.subarray(equals + 1);
  const valid = textKeys.has(key) ? value.indexOf(0) === -1 : !key.includes('\0');
  return valid ? { key, value } : undefined;
}

/** Encodes one PAX record: its own length in decimal, a space, key, `=`, value, newline. */
export function formatPaxRecord({ key, value }: PaxRecord): Buffer {
  const content = joinChunks([Buffer.from(` ${key}=`, 'utf8'), value, Buffer.of(newline)]);
  let length = content.length + String(content.length).length;
  if (content.length + String(length).length !== length) length = content.length + String(length).length;
  return Buffer.concat([Buffer.from(String(length), 'latin1'), content]);
}

/**
 * Parses an integer as Go's strconv.ParseInt does. NaN if it is malformed or exceeds 64 bits; a value that
 * JavaScript cannot represent exactly is not a safe integer.
 */
export function parseDecimal(text: string): number {
  if (!/^[+-]?[0-9]+$/.test(text)) return Number.NaN;
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  const exact = BigInt(text.startsWith('+') ? text.slice(1) : text);
  return exact < int64Limit && exact >= -int64Limit ? value : Number.NaN;
}

/** Parses a PAX time: seconds with an optional fraction. NaN if malformed. */
export function parsePaxTime(text: string): number {
  const dot = text.indexOf('.');
  const whole = dot === -1 ? text : text.slice(0, dot);
  const fraction = dot === -1 ? '' : text.slice(dot + 1);
  const seconds = parseDecimal(whole);
  if (fraction === '') return seconds;
  if (!/^[0-9]+$/.test(fraction)) return Number.NaN;
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0')) / 1e9;
  return whole.startsWith('-') ? seconds - nanoseconds : seconds + nanoseconds;
}

/**
 * Prefix of the PAX keys in which libarchive stores extended attributes: the name percent-encoded, the value
 * in base64.
 */
const libarchivePrefix = 'LIBARCHIVE.xattr.';

/**
 * Attributes that overlayfs interprets in a layer's directory (Documentation/filesystems/overlayfs.rst):
 * redirect, opaque, metacopy, whiteout and others. With them, a container sees a different file from the one
 * in the archive.
 */
const overlayPrefixes = ['trusted.overlay.', 'user.overlay.'];

/** Returns the name of the extended attribute that a PAX key stands for; undefined if it is not one. */
export function extendedAttributeName(key: string): string | undefined {
  if (key.startsWith(extendedAttributePrefix)) return key.slice(extendedAttributePrefix.length);
  if (!key.startsWith(libarchivePrefix)) return undefined;
  return decodePercent(key.slice(libarchivePrefix.length));
}

/** Finds the first attribute among PAX records that overlayfs would interpret. */
export function findOverlayAttribute(pax: ReadonlyMap<string, Buffer>): string | undefined {
  for (const key of pax.keys()) {
    const name = extendedAttributeName(key);
    if (name !== undefined && overlayPrefixes.some((prefix) => name.startsWith(prefix))) return name;
  }
  return undefined;
}

/**
 * Attributes that contain a digest or signature of the content (security/integrity in the kernel). They do
 * not match new content, and block access to the file where they are appraised.
 */
const contentAttributes: ReadonlySet<string> = new Set(['security.ima', 'security.evm']);

/** Tells whether a PAX record contains an attribute that is invalid once the content has changed. */
export function isContentAttribute(key: string): boolean {
  return contentAttributes.has(extendedAttributeName(key) ?? '');
}

/**
 * Returns the names of the attributes among PAX records that are invalid once the content has changed,
 * without duplicates.
 */
export function contentAttributesOf(pax: ReadonlyMap<string, Buffer>): string[] {
  const names = pax
    .keys()
    .filter(isContentAttribute)
    .map((key) => extendedAttributeName(key) ?? key);
  return [...new Set(names)].toSorted();
}

/** Decodes %XX; anything else is kept, as in libarchive. */
function decodePercent(text: string): string {
  if (!text.includes('%')) return text;
  const bytes = Buffer.from(text, 'utf8')
    .toString('latin1')
    .replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return decodeText(Buffer.from(bytes, 'latin1'));
}
