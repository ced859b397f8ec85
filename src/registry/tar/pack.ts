import type { LentChunk } from '../../shared/chunks.ts';
import type { Replacement, TarEntryHeader, TarEntryType } from './entry.ts';
import { blockSize, encodeText, paddingOf, writeChecksum, writeNumber } from './header.ts';
import { extendedAttributePrefix, formatPaxRecord, parsePaxTime, type PaxRecord } from './pax.ts';
import { exactContent } from './rewriter.ts';

/** An entry of a newly created layer. */
export interface PackedEntry {
  /** The source of mode, owner, times and extended attributes: the entry that this one replaces. */
  readonly header: TarEntryHeader;
  /** Absolute or relative path of the entry; stored without a leading `/`. */
  readonly path: string;
  readonly type: 'file' | 'directory' | 'hardlink';
  /** Target path of a hard link. */
  readonly linkPath?: string;
  /** Content of a file. Default: none. */
  readonly content?: Replacement;
}

/**
 * Packs entries, in the given order, into a tar archive with an end marker. The same entries always produce
 * the same bytes.
 * @throws RegistryError INVALID_LAYER if content does not have its stated size
 */
export async function* packLayer(entries: Iterable<PackedEntry>): AsyncGenerator<LentChunk> {
  for (const { header, path, type, linkPath = '', content } of entries) {
    const size = type === 'file' ? (content?.size ?? 0) : 0;
    yield encodeHeader({ path: relative(path), type, linkPath: relative(linkPath), size }, header);
    if (type === 'file' && content !== undefined) yield* exactContent(content, path);
  }
  yield Buffer.alloc(2 * blockSize);
}

function relative(path: string): string {
  return path.replace(/^\/+/, '').replace(/\/+$/, '');
}

/** What a header contains besides the metadata taken from an existing entry. */
export interface HeaderContent {
  /** Path without a leading or trailing `/`. */
  readonly path: string;
  readonly type: Extract<TarEntryType, 'file' | 'directory' | 'hardlink'>;
  readonly linkPath: string;
  readonly size: number;
}

type Metadata = Pick<TarEntryHeader, 'mode' | 'uid' | 'gid' | 'userName' | 'groupName' | 'mtime' | 'pax'>;

const typeFlags = { file: '0', hardlink: '1', directory: '5' } as const;
const permissionBits = 0o7777;
const nameEnd = 100;

/**
 * Encodes the header blocks of an entry: ustar, preceded by a PAX header for what ustar cannot express (long
 * or non-ASCII names, owners above 2097151, times that are fractional, negative or too large, sizes of 8 GiB
 * and more, extended attributes).
 */
export function encodeHeader(content: HeaderContent, metadata: Metadata): Buffer {
  const records: PaxRecord[] = [];
  const block = Buffer.alloc(blockSize);
  const name = content.type === 'directory' ? `${content.path}/` : content.path;
  const text = (key: string, value: string, start: number, end: number) => {
    const bytes = encodeText(value);
    bytes.copy(block, start, 0, end - start);
    if (bytes.length > end - start || !isAscii(bytes)) records.push({ key, value: bytes });
  };
  const number = (key: string, value: number, start: number, end: number) => {
    const fits = Number.isInteger(value) && value >= 0 && value < 8 ** (end - start - 1);
    writeNumber(block, start, end, fits ? value : 0);
    if (!fits) records.push({ key, value: Buffer.from(String(value), 'latin1') });
  };
  text('path', name, 0, nameEnd);
  writeNumber(block, nameEnd, 108, metadata.mode & permissionBits);
  number('uid', metadata.uid, 108, 116);
  number('gid', metadata.gid, 116, 124);
  number('size', content.size, 124, 136);
  writeTime(block, metadata, records);
  block.write(typeFlags[content.type], 156, 'latin1');
  text('linkpath', content.linkPath, 157, 257);
  block.write('ustar\x0000', 257, 'latin1');
  text('uname', metadata.userName, 265, 297);
  text('gname', metadata.groupName, 297, 329);
  writeNumber(block, 329, 337, 0);
  writeNumber(block, 337, 345, 0);
  writeChecksum(block);
  for (const [key, value] of metadata.pax)
    if (key.startsWith(extendedAttributePrefix)) records.push({ key, value });
  return records.length === 0 ? block : Buffer.concat([encodePaxHeader(records), block]);
}

function writeTime(block: Buffer, { mtime, pax }: Metadata, records: PaxRecord[]): void {
  const fits = mtime >= 0 && mtime < 8 ** 11;
  writeNumber(block, 136, 148, fits ? Math.floor(mtime) : 0);
  if (fits && Number.isInteger(mtime)) return;
  // The original record keeps digits that a floating-point number cannot.
  const original = pax.get('mtime')?.toString('latin1') ?? '';
  const text = parsePaxTime(original) === mtime ? original : String(mtime);
  records.push({ key: 'mtime', value: Buffer.from(text, 'latin1') });
}

function encodePaxHeader(records: PaxRecord[]): Buffer {
  const sorted = records.toSorted((a, b) => (a.key < b.key ? -1 : 1));
  const body = Buffer.concat(sorted.map(formatPaxRecord));
  const block = Buffer.alloc(blockSize);
  block.write('PaxHeaders.0/entry', 0, 'latin1');
  writeNumber(block, 100, 108, 0o644);
  writeNumber(block, 108, 116, 0);
  writeNumber(block, 116, 124, 0);
  writeNumber(block, 124, 136, body.length);
  writeNumber(block, 136, 148, 0);
  block.write('x', 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  writeChecksum(block);
  return Buffer.concat([block, body, Buffer.alloc(paddingOf(body.length))]);
}

function isAscii(bytes: Buffer): boolean {
  return bytes.every((byte) => byte < 0x80);
}
