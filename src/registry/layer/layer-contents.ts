import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompress } from 'node:zlib';
import { parseJson } from '../../shared/json.ts';
import type { Digest } from '../model/digest.ts';
import { isJsonObject } from '../model/json.ts';
import { cleanPath, type TarEntryHeader, type TarEntryType } from '../tar/entry.ts';
import type { ListedEntry } from './entry-list.ts';

/** What a layer contains, besides the bytes of its files. */
export interface LayerContents {
  /** In the order of the tar. */
  readonly entries: readonly ListedEntry[];
  /** The headers of its directories. */
  readonly directories: readonly TarEntryHeader[];
}

/** Everything that a layer is verified against: two with the same values have the same contents. */
export interface LayerIdentity {
  readonly digest: Digest;
  /** Bytes of the blob. */
  readonly size: number;
  readonly diffId: Digest;
}

/** Limit on the entries of a layer whose contents are recorded; the largest of real layers have 100,000. */
const maxEntries = 250_000;
/** Limit on the characters of its names, links and attributes. */
const maxCharacters = 16 * 1024 ** 2;
/** Limit on the bytes of a record before it is compressed: a character may take six bytes. */
const maxRecordBytes = 128 * 1024 ** 2;
/** Characters of a directory's header, besides its texts. */
const headerCharacters = 100;
/** Bytes of history that a record may require the decoder to keep; what zlib writes by default needs 2 MiB. */
const maxZstdWindow = 8 * 1024 ** 2;
const hashBytes = 32;

const typeLetters = {
  file: 'f',
  hardlink: 'h',
  symlink: 'l',
  'character-device': 'c',
  'block-device': 'b',
  directory: 'd',
  fifo: 'p',
} as const satisfies Record<TarEntryType, string>;
const typesByLetter = new Map<string, TarEntryType>(
  (Object.keys(typeLetters) as TarEntryType[]).map((type) => [typeLetters[type], type]),
);

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

/** Collects what a layer contains while it is read, in the form in which it is written. */
export class ContentsRecorder {
  #types = '';
  readonly #paths: string[] = [];
  readonly #links: (readonly [index: number, linkName: string])[] = [];
  readonly #directories: unknown[] = [];
  #characters = 0;
  #isTooLarge = false;

  add({ path, type, linkName }: ListedEntry): void {
    if (!this.#grow(path.length + linkName.length)) return;
    if (linkName !== '') this.#links.push([this.#paths.length, linkName]);
    this.#types += typeLetters[type];
    this.#paths.push(path);
  }

  addDirectory(header: TarEntryHeader): void {
    const { index, name, mode, uid, gid, userName, groupName, mtime, deviceMajor, deviceMinor } = header;
    const pax = [...header.pax].map(([key, value]) => [key, value.toString('base64')] as const);
    const characters = pax.reduce((sum, [key, value]) => sum + key.length + value.length, name.length);
    if (!this.#grow(headerCharacters + characters)) return;
    const owner = [mode, uid, gid, userName, groupName];
    this.#directories.push([index, name, ...owner, mtime, deviceMajor, deviceMinor, pax]);
  }

  /**
   * Returns what was collected as a record: a SHA-256, and what it is the hash of, JSON compressed with zstd.
   * undefined if it was too much to be kept.
   * @param key identifies the layer and the format; a record is read only with the same key
   */
  async encode(key: string): Promise<Buffer | undefined> {
    if (this.#isTooLarge) return undefined;
    const [types, paths, links, directories] = [this.#types, this.#paths, this.#links, this.#directories];
    const packed = await compress(Buffer.from(JSON.stringify({ key, types, paths, links, directories })));
    // Not of Node's pool: a small record that is kept would keep a whole block of it.
    const record = Buffer.allocUnsafeSlow(hashBytes + packed.length);
    record.set(hashOf(packed));
    record.set(packed, hashBytes);
    return record;
  }

  #grow(characters: number): boolean {
    this.#characters += characters;
    this.#isTooLarge ||= this.#characters > maxCharacters || this.#paths.length >= maxEntries;
    return !this.#isTooLarge;
  }
}

/** Reads a record; undefined if it is damaged, or of another layer or format. Never throws. */
export async function decodeContents(key: string, bytes: Buffer): Promise<LayerContents | undefined> {
  const packed = bytes.subarray(hashBytes);
  if (!hashOf(packed).equals(bytes.subarray(0, hashBytes))) return undefined;
  try {
    const text = await decompress(packed, {
      maxOutputLength: maxRecordBytes,
      params: { [constants.ZSTD_d_windowLogMax]: Math.log2(maxZstdWindow) },
    });
    const record = parseJson(text.toString());
    if (!isJsonObject(record) || record['key'] !== key) return undefined;
    const { types, paths, links, directories } = record;
    if (typeof types !== 'string' || !Array.isArray(paths) || paths.length !== types.length) return undefined;
    if (!Array.isArray(links) || !Array.isArray(directories)) return undefined;
    const linkNames = new Map<unknown, unknown>(links.map(pairOf));
    const entries = paths.map((path: unknown, index) => toEntry(path, types[index], linkNames.get(index)));
    return { entries, directories: directories.map((fields) => toHeader(fields, entries)) };
  } catch {
    return undefined;
  }
}

function hashOf(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

/** A record's hash is right, but it is not what a recorder writes. */
function unexpected(): Error {
  return new Error('the record has another form');
}

function toEntry(path: unknown, letter = '', linkName: unknown = ''): ListedEntry {
  const type = typesByLetter.get(letter);
  if (type === undefined || typeof path !== 'string' || typeof linkName !== 'string') throw unexpected();
  if (cleanPath(path) !== path) throw unexpected();
  return { path, type, linkName };
}

function toHeader(fields: unknown, entries: readonly ListedEntry[]): TarEntryHeader {
  if (!Array.isArray(fields)) throw unexpected();
  const [index, name, mode, uid, gid, userName, groupName, mtime, deviceMajor, deviceMinor, pax]: unknown[] =
    fields;
  const position = numberOf(index);
  const entry = entries[position];
  if (entry?.type !== 'directory' || !Array.isArray(pax)) throw unexpected();
  const records = pax.map(pairOf).map(([key, value]) => {
    return [textOf(key), Buffer.from(textOf(value), 'base64')] as const;
  });
  return {
    ...entry,
    index: position,
    name: textOf(name),
    size: 0,
    mode: numberOf(mode),
    uid: numberOf(uid),
    gid: numberOf(gid),
    userName: textOf(userName),
    groupName: textOf(groupName),
    mtime: numberOf(mtime),
    deviceMajor: numberOf(deviceMajor),
    deviceMinor: numberOf(deviceMinor),
    pax: new Map(records),
  };
}

function pairOf(value: unknown): readonly [unknown, unknown] {
  if (!Array.isArray(value) || value.length !== 2) throw unexpected();
  return [value[0], value[1]];
}

function numberOf(value: unknown): number {
  if (typeof value !== 'number') throw unexpected();
  return value;
}

function textOf(value: unknown): string {
  if (typeof value !== 'string') throw unexpected();
  return value;
}
