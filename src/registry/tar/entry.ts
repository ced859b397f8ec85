import type { LentChunks } from '../../shared/chunks.ts';

/** The type of a tar entry. The reader refuses any other. */
export type TarEntryType =
  | 'file'
  | 'hardlink'
  | 'symlink'
  | 'character-device'
  | 'block-device'
  | 'directory'
  | 'fifo';

/** An entry of a tar archive as Go's archive/tar (and thus containerd and podman) sees it. */
export interface TarEntryHeader {
  /** Position in the archive, from 0; extension headers do not count. */
  readonly index: number;
  /**
   * As stored. Bytes that are not UTF-8 become lone surrogates U+DC80 + (byte - 0x80), so that no two names
   * coincide.
   */
  readonly name: string;
  /**
   * `name` cleaned for comparison: no leading `/` or `./`, no `.`, no empty part, no trailing `/`; `''` is
   * the root. Never contains `..`.
   */
  readonly path: string;
  readonly type: TarEntryType;
  /** Bytes of content. 0 for all but files. */
  readonly size: number;
  /** Target of a link, as stored (bytes decoded as in `name`). */
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly userName: string;
  readonly groupName: string;
  /** Seconds since the epoch, possibly with a fraction. */
  readonly mtime: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** PAX records that apply, values as raw bytes (extended attributes are binary). */
  readonly pax: ReadonlyMap<string, Buffer>;
}

/** An entry while it is being read. `content` may be read once, before the next entry is requested. */
export interface TarEntry extends TarEntryHeader {
  content(): LentChunks;
}

/** New content for an entry. */
export interface Replacement {
  /** Bytes. `open` must yield exactly this many. */
  readonly size: number;
  open(): LentChunks;
}

/** Reads the content of an entry into memory of the entry's size. */
export async function copyContent(entry: TarEntry, memory: Buffer): Promise<void> {
  let at = 0;
  for await (const chunk of entry.content()) at += chunk.copy(memory, at);
}

/**
 * Cleans a stored name for comparison: no leading `/` or `./`, no `.`, no empty part, no trailing `/`.
 * `''` is the root. Undefined when a part is `..`.
 */
export function cleanPath(name: string): string | undefined {
  const start = name.startsWith('./') ? 2 : 0;
  const end = name.endsWith('/') && name.length > start ? name.length - 1 : name.length;
  const candidate = start === 0 && end === name.length ? name : name.slice(start, end);
  if (!mayNeedCleaning(candidate)) return candidate;
  const parts = candidate.split('/').filter((part) => part !== '' && part !== '.');
  return parts.includes('..') ? undefined : parts.join('/');
}

function mayNeedCleaning(name: string): boolean {
  return (
    name.startsWith('/') ||
    name.startsWith('.') ||
    name.endsWith('/') ||
    name.includes('//') ||
    name.includes('/.')
  );
}
