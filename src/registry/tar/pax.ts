import { decodeText } from './fields.ts';

/** Prefix of the PAX keys that hold extended attributes. */
export const extendedAttributePrefix = 'SCHILY.xattr.';

const textKeys: ReadonlySet<string> = new Set(['path', 'linkpath', 'uname', 'gname']);
const newline = 0x0a;
const shortestRecord = 5;
const int64Limit = 2n ** 63n;

/** One record of a PAX extended header (POSIX pax, "pax Extended Header"). */
export interface PaxRecord {
  readonly key: string;
  /** A view of the header's bytes. */
  readonly value: Buffer;
}

/** Splits the body of a PAX header into its records. Undefined when it is malformed, as Go's archive/tar judges. */
export function parsePaxRecords(body: Buffer): PaxRecord[] | undefined {
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

function parseKeyAndValue(bytes: Buffer): PaxRecord | undefined {
  const equals = bytes.indexOf(0x3d);
  if (equals <= 0) return undefined;
  const key = decodeText(bytes.subarray(0, equals));
  const value = bytes.subarray(equals + 1);
  const valid = textKeys.has(key) ? !value.includes(0) : !key.includes('\0');
  return valid ? { key, value } : undefined;
}

/** Encodes one PAX record: its own length in decimal, a space, key, `=`, value, newline. */
export function formatPaxRecord({ key, value }: PaxRecord): Buffer {
  const content = Buffer.concat([Buffer.from(` ${key}=`, 'utf8'), value, Buffer.of(newline)]);
  let length = content.length + String(content.length).length;
  if (content.length + String(length).length !== length) length = content.length + String(length).length;
  return Buffer.concat([Buffer.from(String(length), 'latin1'), content]);
}

/** Parses a whole number as Go's strconv.ParseInt does. NaN when it is none or exceeds 64 bits; what JavaScript cannot hold exactly is no safe integer. */
export function parseDecimal(text: string): number {
  if (!/^[+-]?[0-9]+$/.test(text)) return Number.NaN;
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  const exact = BigInt(text.startsWith('+') ? text.slice(1) : text);
  return exact < int64Limit && exact >= -int64Limit ? value : Number.NaN;
}

/** Parses a PAX time: seconds with an optional fraction. NaN when malformed. */
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
