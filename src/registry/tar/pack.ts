import type { Replacement, TarEntryHeader } from './entry.ts';
import { blockSize } from './fields.ts';
import { exactContent } from './rewriter.ts';
import { encodeHeader } from './write-header.ts';

/** An entry of a layer that is made anew. */
export interface PackedEntry {
  /** Where mode, owner, times and extended attributes come from: the entry that this one stands for. */
  readonly header: TarEntryHeader;
  /** Absolute or relative path of the entry; stored without a leading `/`. */
  readonly path: string;
  readonly type: 'file' | 'directory' | 'hardlink';
  /** Path of the file that a hard link names. */
  readonly linkPath?: string;
  /** Content of a file. Default: none. */
  readonly content?: Replacement;
}

/**
 * Packs entries, in the order given, into a tar archive with its end marker. The same entries give the same bytes.
 * @throws RegistryError INVALID_LAYER when content has another size than it says
 */
export async function* packLayer(entries: Iterable<PackedEntry>): AsyncGenerator<Buffer> {
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
