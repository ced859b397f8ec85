import { copyOf, type LentChunks } from '../../src/shared/chunks.ts';

/** The fields of a header block. Numbers are written in octal; bytes are written as they are. */
export interface BlockFields {
  readonly name?: string | Buffer;
  readonly mode?: number | Buffer;
  readonly uid?: number | Buffer;
  readonly gid?: number | Buffer;
  readonly size?: number | Buffer;
  readonly mtime?: number | Buffer;
  /** Default: `0`. */
  readonly type?: string;
  readonly link?: string | Buffer;
  /** Magic and version, 8 bytes. Default: ustar's. */
  readonly magic?: string;
  readonly user?: string | Buffer;
  readonly group?: string | Buffer;
  readonly major?: number | Buffer;
  readonly minor?: number | Buffer;
  readonly prefix?: string | Buffer;
  /** How the checksum is computed. Default: over unsigned bytes. */
  readonly checksum?: 'unsigned' | 'signed' | 'wrong';
}

export const gnuMagic = 'ustar  \0';
export const ustarMagic = 'ustar\x0000';
export const oldMagic = '\0'.repeat(8);

/** Two zero blocks. */
export const endOfArchive = Buffer.alloc(1024);

/** Builds one header block, without any validation. */
export function headerBlock(fields: BlockFields): Buffer {
  const block = Buffer.alloc(512);
  const text = (value: string | Buffer | undefined, start: number, length: number) => {
    Buffer.from(value ?? '').copy(block, start, 0, length);
  };
  const number = (value: number | Buffer | undefined, start: number, length: number) => {
    if (Buffer.isBuffer(value)) value.copy(block, start, 0, length);
    else block.write(`${(value ?? 0).toString(8).padStart(length - 1, '0')}\0`, start, 'latin1');
  };
  text(fields.name, 0, 100);
  number(fields.mode ?? 0o644, 100, 8);
  number(fields.uid, 108, 8);
  number(fields.gid, 116, 8);
  number(fields.size, 124, 12);
  number(fields.mtime, 136, 12);
  block.write(fields.type ?? '0', 156, 1, 'latin1');
  text(fields.link, 157, 100);
  block.write(fields.magic ?? ustarMagic, 257, 8, 'latin1');
  text(fields.user, 265, 32);
  text(fields.group, 297, 32);
  number(fields.major, 329, 8);
  number(fields.minor, 337, 8);
  text(fields.prefix, 345, 155);
  return withChecksum(block, fields.checksum);
}

/** Fills in the checksum of a block. */
export function withChecksum(block: Buffer, kind: BlockFields['checksum'] = 'unsigned'): Buffer {
  block.fill(' ', 148, 156);
  const signed = kind === 'signed';
  const start = kind === 'wrong' ? 1 : 0;
  const sum = block.reduce((total, byte) => total + (signed && byte > 127 ? byte - 256 : byte), start);
  block.write(`${Math.max(sum, 0).toString(8).padStart(6, '0')}\0 `, 148, 8, 'latin1');
  return block;
}

/** Pads content to whole blocks. */
export function padded(content: Buffer | string): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

/** Returns a header followed by content of the stated size. */
export function entryBlocks(fields: BlockFields, content: Buffer | string = ''): Buffer {
  return Buffer.concat([headerBlock({ size: Buffer.byteLength(content), ...fields }), padded(content)]);
}

/** A PAX record. */
export function paxRecord(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')]);
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/** A PAX header: local (`x`) or global (`g`). */
export function paxBlocks(records: Readonly<Record<string, string | Buffer>>, type: 'x' | 'g' = 'x'): Buffer {
  const body = Buffer.concat(Object.entries(records).map(([key, value]) => paxRecord(key, value)));
  return entryBlocks({ name: 'PaxHeaders/x', type }, body);
}

/** Streams bytes in chunks of a given size. */
export async function* inChunks(bytes: Buffer, size = 64 * 1024): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

/** Collects all bytes of a stream. */
export async function collect(source: LentChunks): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of source) parts.push(copyOf(part));
  return Buffer.concat(parts);
}
