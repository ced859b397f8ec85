import { copyOf, joinChunks, type LentChunk, type LentChunks } from '../../shared/chunks.ts';
import { RegistryError } from '../model/errors.ts';
import { ByteCursor } from './byte-cursor.ts';
import { cleanPath, type Replacement, type TarEntryHeader } from './entry.ts';
import { blockSize, paddingOf, parseNumber, writeChecksum, writeNumber } from './header.ts';
import { readHead } from './head.ts';
import { formatPaxRecord, isContentAttribute, parsePaxRecords, type PaxRecord } from './pax.ts';

/**
 * Copies a tar archive unchanged, byte for byte (headers, padding, what follows the end), except that the
 * entries in `replacements` (by index) get new content and a header to match: its size, and no extended
 * attributes that contain a digest or signature of the old content. Hard links to them lose such attributes,
 * too.
 * @throws RegistryError INVALID_LAYER, also if an entry to replace is not a file or does not exist
 */
export async function* rewriteTar(
  source: LentChunks,
  replacements: ReadonlyMap<number, Replacement>,
): AsyncGenerator<LentChunk> {
  const tape = new Tape();
  const cursor = new ByteCursor(tape.record(source));
  const replacedPaths = new Set<string>();
  let replaced = 0;
  try {
    for (let index = 0; ; index++) {
      if (cursor.available < blockSize) yield* tape.take(cursor.position);
      const start = cursor.position;
      const header = await readHead(cursor, index);
      if (header === undefined) break;
      const replacement = replacements.get(index);
      if (header.type === 'hardlink' && replacedPaths.has(cleanPath(header.linkName) ?? '')) {
        replacedPaths.add(header.path);
        yield* tape.take(start);
        yield resizeHead(joinChunks(tape.take(cursor.position)), undefined);
        continue;
      }
      if (replacement !== undefined) {
        replaced++;
        replacedPaths.add(header.path);
        yield* tape.take(start);
        yield* replaceEntry(joinChunks(tape.take(cursor.position)), header, replacement);
        await skipContent(cursor, header, tape);
        tape.take(cursor.position);
        continue;
      }
      let remaining = header.size + paddingOf(header.size);
      while (remaining > 0 && !cursor.skipWithinChunk(remaining)) {
        const count = await cursor.skipSome(remaining);
        if (count === 0) break;
        remaining -= count;
        if (cursor.available === 0) yield* tape.take(cursor.position);
      }
    }
    if (replaced !== replacements.size) throw missingEntry(replacements.size - replaced);
    do yield* tape.take(cursor.position);
    while ((await cursor.skipSome(Number.POSITIVE_INFINITY)) > 0);
  } finally {
    await cursor.close();
  }
}

/** Buffers the chunks of a source until it is known whether they are kept or replaced. */
class Tape {
  #chunks: LentChunk[] = [];
  #start = 0;

  async *record(source: LentChunks): AsyncGenerator<LentChunk> {
    for await (const chunk of source) {
      this.#chunks.push(chunk);
      yield chunk;
      // What is left of it is rarely more than a header.
      this.#chunks = this.#chunks.map(copyOf);
    }
  }

  /** Removes and returns what is before `position`. */
  take(position: number): LentChunk[] {
    const taken: LentChunk[] = [];
    while (this.#start < position) {
      const chunk = this.#chunks[0];
      if (chunk === undefined) break;
      const count = Math.min(chunk.length, position - this.#start);
      if (count === chunk.length) this.#chunks.shift();
      else this.#chunks[0] = chunk.subarray(count);
      if (count > 0) taken.push(count === chunk.length ? chunk : chunk.subarray(0, count));
      this.#start += count;
    }
    return taken;
  }
}

async function* replaceEntry(
  head: Buffer,
  header: TarEntryHeader,
  replacement: Replacement,
): AsyncGenerator<LentChunk> {
  if (header.type !== 'file') {
    throw new RegistryError({
      code: 'INVALID_LAYER',
      message: `The entry ${JSON.stringify(header.path)} of the layer is a ${header.type}, whose content cannot be replaced`,
      facts: { index: header.index, path: header.path },
    });
  }
  yield resizeHead(head, replacement.size);
  yield* exactContent(replacement, header.path);
}

/**
 * Yields the content of a replacement and its padding.
 * @throws RegistryError INVALID_LAYER if it does not have its stated size
 */
export async function* exactContent(replacement: Replacement, path: string): AsyncGenerator<LentChunk> {
  const { size } = replacement;
  let written = 0;
  for await (const chunk of replacement.open()) {
    written += chunk.length;
    if (written > size) break;
    yield chunk;
  }
  if (written !== size) {
    throw new RegistryError({
      code: 'INVALID_LAYER',
      message: `The new content of ${JSON.stringify(path)} does not have the stated ${size} bytes`,
      facts: { path, size },
    });
  }
  const padding = paddingOf(size);
  if (padding > 0) yield Buffer.alloc(padding);
}

async function skipContent(
  cursor: ByteCursor,
  { size, path, index }: TarEntryHeader,
  tape: Tape,
): Promise<void> {
  let remaining = size;
  while (remaining > 0) {
    const count = await cursor.skipSome(remaining);
    if (count === 0) {
      throw new RegistryError({
        code: 'INVALID_LAYER',
        message: `The layer's tar archive ends in the middle of ${JSON.stringify(path)}`,
        facts: { index, path },
      });
    }
    remaining -= count;
    tape.take(cursor.position);
  }
  await cursor.skip(paddingOf(size));
}

function missingEntry(count: number): RegistryError {
  return new RegistryError({
    code: 'INVALID_LAYER',
    message: `The layer ends before ${count} of the entries that are to be replaced`,
    facts: { count },
  });
}

const sizeStart = 124;
const sizeEnd = 136;
const typeFlagOffset = 156;

/**
 * Adapts the headers of an entry (extension headers, then its own) to new content: sets its size in the
 * entry's own header block and in the PAX record `size` if there is one, and drops extended attributes that
 * contain a digest or signature of the old content. Every other byte is kept.
 * @param size undefined: unchanged
 */
function resizeHead(head: Buffer, size: number | undefined): Buffer {
  const parts: Buffer[] = [];
  let offset = 0;
  while (offset < head.length - blockSize) {
    const block = head.subarray(offset, offset + blockSize);
    const bodySize = parseNumber(block, sizeStart, sizeEnd);
    const end = offset + blockSize + bodySize + paddingOf(bodySize);
    const body = head.subarray(offset + blockSize, offset + blockSize + bodySize);
    const changed = block[typeFlagOffset] === 'x'.charCodeAt(0) ? changeRecords(body, size) : undefined;
    if (changed === undefined) parts.push(head.subarray(offset, end));
    else parts.push(withSize(block, changed.length), changed, Buffer.alloc(paddingOf(changed.length)));
    offset = end;
  }
  parts.push(size === undefined ? head.subarray(offset) : withSize(head.subarray(offset), size));
  return Buffer.concat(parts);
}

/** Returns the records adapted to new content; undefined if they need no change. */
function changeRecords(body: Buffer, size: number | undefined): Buffer | undefined {
  const records = parsePaxRecords(body) ?? [];
  const remaining = records.filter(({ key }) => !isContentAttribute(key));
  if (remaining.length === records.length && (size === undefined || !records.some(overridesSize)))
    return undefined;
  return Buffer.concat(
    remaining.map((record) =>
      formatPaxRecord(
        size !== undefined && overridesSize(record)
          ? { key: record.key, value: Buffer.from(String(size), 'latin1') }
          : record,
      ),
    ),
  );
}

/** Tells whether a record overrides the size of the header block; one with an empty value does not. */
function overridesSize({ key, value }: PaxRecord): boolean {
  return key === 'size' && value.length > 0;
}

function withSize(block: Buffer, size: number): Buffer {
  const copy = Buffer.from(block);
  writeNumber(copy, sizeStart, sizeEnd, size);
  writeChecksum(copy);
  return copy;
}
