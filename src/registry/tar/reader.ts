import type { LentChunk, LentChunks } from '../../shared/chunks.ts';
import { RegistryError } from '../model/errors.ts';
import { ByteCursor } from './byte-cursor.ts';
import type { TarEntry, TarEntryHeader } from './entry.ts';
import { paddingOf } from './header.ts';
import { readHead } from './head.ts';

/** Limits of an archive. */
export interface TarLimits {
  readonly maxEntries: number;
}

/** The part of an entry's content that has not been read. */
interface Content {
  remaining: number;
  readonly header: TarEntryHeader;
}

/**
 * Reads a tar archive as Go's archive/tar, and thus containerd and podman, see it: stops at two zero blocks
 * (or at the end of the source between entries), then reads the source to its end, so that a digest over it
 * is complete. Refuses entries that readers interpret differently (sparse files, unknown types, `..`,
 * negative sizes).
 * @throws RegistryError INVALID_LAYER, LIMIT_EXCEEDED
 */
export async function* readTar(source: LentChunks, { maxEntries }: TarLimits): AsyncGenerator<TarEntry> {
  const cursor = new ByteCursor(source);
  try {
    for (let index = 0; ; index++) {
      const header = await readHead(cursor, index);
      if (header === undefined) break;
      if (index >= maxEntries) throw tooManyEntries(maxEntries);
      const content: Content = { remaining: header.size, header };
      yield { ...header, content: () => readContent(cursor, content) };
      await skipContent(cursor, content);
    }
    await cursor.skip(Number.POSITIVE_INFINITY);
  } finally {
    await cursor.close();
  }
}

async function* readContent(cursor: ByteCursor, content: Content): AsyncGenerator<LentChunk> {
  while (content.remaining > 0) {
    const chunk = await cursor.some(content.remaining);
    if (chunk === undefined) throw truncated(content.header);
    content.remaining -= chunk.length;
    yield chunk;
  }
}

async function skipContent(cursor: ByteCursor, content: Content): Promise<void> {
  const { remaining, header } = content;
  if (header.size === 0) return;
  // A content stream that is still held must not read what follows.
  content.remaining = 0;
  const padding = paddingOf(header.size);
  if (cursor.skipWithinChunk(remaining + padding)) return;
  if ((await cursor.skip(remaining)) < remaining) throw truncated(header);
  await cursor.skip(padding);
}

function truncated({ index, path }: TarEntryHeader): RegistryError {
  return new RegistryError({
    code: 'INVALID_LAYER',
    message: `The layer's tar archive ends in the middle of ${JSON.stringify(path)}`,
    facts: { index, path },
  });
}

function tooManyEntries(maxEntries: number): RegistryError {
  return new RegistryError({
    code: 'LIMIT_EXCEEDED',
    message: `The layer's tar archive has more than ${maxEntries} entries`,
    facts: { maxEntries },
  });
}
