import { copyOf, type LentChunk } from '../../shared/chunks.ts';
import { RegistryError, type RegistryErrorCode } from '../model/errors.ts';
import type { ByteCursor } from './byte-cursor.ts';
import { cleanPath, type TarEntryHeader, type TarEntryType } from './entry.ts';
import { blockSize, decodeText, paddingOf, parseText, type BlockHeader, parseHeader } from './header.ts';
import { findOverlayAttribute, parseDecimal, parsePaxRecords, parsePaxTime } from './pax.ts';

/** The largest PAX header or GNU long name, in bytes: the limit of Go's archive/tar and of libarchive. */
const maxExtensionSize = 1024 * 1024;

const zeroBlock = Buffer.alloc(blockSize);
const noRecords: ReadonlyMap<string, Buffer> = new Map();
const sparsePrefix = 'GNU.sparse.';

const types: Readonly<Record<string, TarEntryType>> = {
  '0': 'file',
  '\0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
};

/** What the extension headers before an entry say about it. */
interface Extensions {
  pax: ReadonlyMap<string, Buffer>;
  longName: string;
  longLink: string;
  /**
   * An overlayfs extended attribute set by one of the PAX headers, whether or not that header takes effect.
   */
  overlayAttribute: string | undefined;
}

/**
 * Reads the headers of the next entry, extension headers included, up to its content. Returns undefined at
 * the end of the archive: two zero blocks, or the end of the source between entries.
 *
 * Follows Go's archive/tar: only the last PAX header before an entry takes effect, a GNU long name overrides
 * it, and a global header applies to nothing and discards what came before it.
 * @throws RegistryError INVALID_LAYER, LIMIT_EXCEEDED
 */
export async function readHead(cursor: ByteCursor, index: number): Promise<TarEntryHeader | undefined> {
  let extensions = noExtensions();
  for (;;) {
    const block = await readBlock(cursor, index);
    if (block === undefined) return undefined;
    const header = parseHeader(block);
    if (header === undefined)
      throw invalid('has a damaged header', { index, offset: cursor.position - blockSize });
    switch (header.typeFlag) {
      case 'x':
        extensions.pax = toMap(await readExtension(cursor, header, index), header, index);
        extensions.overlayAttribute ??= findOverlayAttribute(extensions.pax);
        break;
      case 'g': {
        const global = toMap(await readExtension(cursor, header, index), header, index);
        extensions = { ...noExtensions(), overlayAttribute: findOverlayAttribute(global) };
        break;
      }
      case 'L':
        extensions.longName = readLongText(await readExtension(cursor, header, index));
        break;
      case 'K':
        extensions.longLink = readLongText(await readExtension(cursor, header, index));
        break;
      default:
        return mergeHeader(header, extensions, index);
    }
  }
}

function noExtensions(): Extensions {
  return { pax: noRecords, longName: '', longLink: '', overlayAttribute: undefined };
}

/** Returns the next header block; undefined at the end of the archive. */
async function readBlock(cursor: ByteCursor, index: number): Promise<LentChunk | undefined> {
  const block = cursor.view(blockSize) ?? (await cursor.read(blockSize));
  if (block.length === 0) return undefined;
  if (block.length < blockSize) throw invalid('ends in the middle of a header', { index });
  if (block[0] !== 0 || !block.equals(zeroBlock)) return block;
  const second = await cursor.read(blockSize);
  if (second.length === 0 || second.equals(zeroBlock)) return undefined;
  throw invalid('has data after a zero block', { index, offset: cursor.position - second.length });
}

async function readExtension(
  cursor: ByteCursor,
  { size, name }: BlockHeader,
  index: number,
): Promise<LentChunk> {
  if (size < 0) throw invalid('has an extension header of negative size', { index, path: name });
  if (size > maxExtensionSize) {
    throw invalid(`has an extension header of ${size} bytes`, { index, path: name }, 'LIMIT_EXCEEDED');
  }
  // Together with its padding: skipping that later might request the next chunk.
  const body = await cursor.read(size + paddingOf(size));
  if (body.length < size) throw invalid('ends in the middle of an extension header', { index, path: name });
  return body.subarray(0, size);
}

function readLongText(body: LentChunk): string {
  return parseText(body, 0, body.length);
}

function toMap(body: LentChunk, { name }: BlockHeader, index: number): ReadonlyMap<string, Buffer> {
  const records = parsePaxRecords(body);
  if (records === undefined) throw invalid('has a malformed PAX header', { index, path: name });
  return new Map(records.map(({ key, value }) => [key, copyOf(value)]));
}

function mergeHeader(
  block: BlockHeader,
  { pax, longName, longLink, overlayAttribute }: Extensions,
  index: number,
): TarEntryHeader {
  const name = longName || textRecord(pax, 'path') || block.name;
  if (overlayAttribute !== undefined) {
    const what = `sets the extended attribute ${JSON.stringify(overlayAttribute)}, by which overlayfs shows another file`;
    throw invalid(what, { index, path: name });
  }
  const type = entryType(block.typeFlag, name);
  refuseSparse(block.typeFlag, pax, { name, index });
  if (type === undefined) {
    throw invalid(`has an entry of the unsupported type ${JSON.stringify(block.typeFlag)}`, {
      index,
      path: name,
    });
  }
  const path = cleanPath(name);
  if (path === undefined) throw invalid('has an entry whose path contains ".."', { index, path: name });
  const number = (key: string, fallback: number, parse = parseDecimal) => {
    const text = pax.get(key)?.toString('latin1') ?? '';
    const value = text === '' ? fallback : parse(text);
    if (Number.isNaN(value)) throw invalid(`has a PAX header with a malformed ${key}`, { index, path: name });
    return value;
  };
  // Go refuses an archive with malformed times even where it does not use them.
  number('atime', 0, parsePaxTime);
  number('ctime', 0, parsePaxTime);
  const size = number('size', block.size);
  if (type === 'file' && !(size >= 0 && Number.isSafeInteger(size))) {
    throw invalid(`has a file of ${size} bytes`, { index, path: name });
  }
  return {
    index,
    name,
    path,
    type,
    size: type === 'file' ? size : 0,
    linkName: longLink || textRecord(pax, 'linkpath') || block.linkName,
    mode: block.mode,
    uid: number('uid', block.uid),
    gid: number('gid', block.gid),
    userName: textRecord(pax, 'uname') || block.userName,
    groupName: textRecord(pax, 'gname') || block.groupName,
    mtime: number('mtime', block.mtime, parsePaxTime),
    deviceMajor: block.deviceMajor,
    deviceMinor: block.deviceMinor,
    pax,
  };
}

function textRecord(pax: ReadonlyMap<string, Buffer>, key: string): string {
  const value = pax.get(key);
  return value === undefined ? '' : decodeText(value);
}

/** Pre-POSIX archives mark a directory only by a trailing slash. */
function entryType(typeFlag: string, name: string): TarEntryType | undefined {
  return typeFlag === '\0' && name.endsWith('/') ? 'directory' : types[typeFlag];
}

/** Refuses sparse files: their stored bytes are not their content, and readers disagree about them. */
function refuseSparse(
  typeFlag: string,
  pax: ReadonlyMap<string, Buffer>,
  place: { name: string; index: number },
): void {
  if (typeFlag !== 'S' && !pax.keys().some((key) => key.startsWith(sparsePrefix))) return;
  throw invalid('has a sparse file', { index: place.index, path: place.name });
}

function invalid(
  what: string,
  facts: { index: number; path?: string; offset?: number },
  code: RegistryErrorCode = 'INVALID_LAYER',
): RegistryError {
  const where =
    facts.path === undefined ? `at entry ${facts.index}` : JSON.stringify(facts.path.slice(0, 300));
  return new RegistryError({ code, message: `The layer's tar archive ${what} (${where})`, facts });
}
