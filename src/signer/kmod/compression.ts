import { promisify } from 'node:util';
import {
  constants,
  crc32,
  createInflateRaw,
  gzip,
  type ZlibOptions,
  type ZstdOptions,
  zstdCompress,
  zstdDecompress,
} from 'node:zlib';
import { type ByteSource, bufferSource } from '../../shared/byte-source.ts';
import { damagedModule, moduleTooLarge, SignerError } from '../model/errors.ts';
import type { ModuleCompression } from '../model/module.ts';

/** Limit on the unpacked size: larger than any real module, so that a hostile one is stopped. */
export const defaultMaxModuleBytes = 1024 ** 3;

/** What a path ends with that is a module's: .ko, .ko.gz, .ko.xz or .ko.zst. */
export const moduleName: RegExp = /\.ko(?:\.gz|\.xz|\.zst)?$/;

/** Returns whether a path ends like a module's: .ko, .ko.gz, .ko.xz or .ko.zst. */
export function isModuleName(path: string): boolean {
  return moduleName.test(path);
}

const magics: readonly (readonly [ModuleCompression, Buffer])[] = [
  ['gzip', Buffer.from([0x1f, 0x8b, 0x08])],
  ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])],
  ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
];

/** Detects a module file's compression from its first bytes (6 suffice). */
export function detectModuleCompression(firstBytes: Buffer): ModuleCompression {
  const found = magics.find(([, magic]) => firstBytes.subarray(0, magic.length).equals(magic));
  return found?.[0] ?? 'none';
}

/**
 * Unpacks a module; returns one that is not compressed unchanged.
 * @throws SignerError DAMAGED_MODULE, LIMIT_EXCEEDED; PROGRAM_FAILED without xz
 */
export async function unpackModule(
  source: ByteSource,
  compression: ModuleCompression,
  signal?: AbortSignal,
  maxBytes: number = defaultMaxModuleBytes,
): Promise<ByteSource> {
  if (compression === 'none') return source;
  const packed = await source.read(0, source.size);
  return bufferSource(await decompress(packed, compression, maxBytes, signal));
}

async function decompress(
  packed: Buffer,
  compression: Exclude<ModuleCompression, 'none'>,
  maxBytes: number,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  if (compression === 'xz') {
    const { xzDecompress } = await import('./xz.ts');
    return xzDecompress(packed, maxBytes, signal);
  }
  const unpackWhole = compression === 'gzip' ? unpackMember : unpackFrame;
  try {
    const unpacked = await unpackWhole(packed, maxBytes);
    if (unpacked !== null) return unpacked;
  } catch (error) {
    if (error instanceof SignerError) throw error;
    if (error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE')
      throw moduleTooLarge(maxBytes);
    throw damagedModule(`its ${compression} data cannot be unpacked`);
  }
  throw damagedModule(`bytes follow its ${compression} data, which kernels and modprobe treat differently`);
}

/**
 * Unpacks the one member of a gzip file (RFC 1952); null where anything follows it, also another member: modprobe
 * appends that, and the kernel ignores it.
 */
async function unpackMember(packed: Buffer, maxBytes: number): Promise<Buffer | null> {
  const start = gzipHeaderLength(packed);
  const inflate = createInflateRaw({ chunkSize: decodeChunk(packed.length) });
  inflate.end(packed.subarray(start));
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of inflate as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBytes) throw moduleTooLarge(maxBytes);
    chunks.push(chunk);
  }
  const unpacked = Buffer.concat(chunks, length);
  // The decoder stops where the compressed data end.
  const end = start + inflate.bytesWritten;
  if (packed.readUInt32LE(end) !== crc32(unpacked) || packed.readUInt32LE(end + 4) !== length) {
    throw new RangeError('checksum or length do not match');
  }
  return end + gzipTrailerLength === packed.length ? unpacked : null;
}

const gzipTrailerLength = 8;
const gzipFlags = { headerChecksum: 0x02, extra: 0x04, name: 0x08, comment: 0x10 };

/** Returns the octets before the compressed data of a member (RFC 1952 section 2.3). @throws RangeError */
function gzipHeaderLength(packed: Buffer): number {
  const flags = packed.readUInt8(3);
  let at = 10;
  if ((flags & gzipFlags.extra) !== 0) at += 2 + packed.readUInt16LE(at);
  for (const flag of [gzipFlags.name, gzipFlags.comment]) {
    if ((flags & flag) === 0) continue;
    const end = packed.indexOf(0, at);
    if (end === -1) throw new RangeError('a text of the header does not end');
    at = end + 1;
  }
  return at + ((flags & gzipFlags.headerChecksum) === 0 ? 0 : 2);
}

/** Unpacks the one frame of a zstd file; null where anything follows it, which modprobe refuses or appends. */
async function unpackFrame(packed: Buffer, maxBytes: number): Promise<Buffer | null> {
  const unpacked = await unzstd(packed, {
    maxOutputLength: maxBytes,
    chunkSize: decodeChunk(packed.length),
  });
  return zstdFrameLength(packed) === packed.length ? unpacked : null;
}

const unzstd = promisify<Buffer, ZstdOptions, Buffer>(zstdDecompress);

/** Returns a size large enough to unpack most modules in one step, and small enough not to waste memory. */
function decodeChunk(packedLength: number): number {
  return Math.min(Math.max(4 * packedLength, 16 * 1024), 1024 * 1024);
}

/**
 * Compresses a module so that the kernel and modprobe can read it; the output is deterministic.
 * @throws SignerError PROGRAM_FAILED without xz
 */
export async function packModule(
  bytes: Buffer,
  compression: ModuleCompression,
  signal?: AbortSignal,
): Promise<Buffer> {
  switch (compression) {
    case 'none':
      return bytes;
    case 'gzip':
      return promisify<Buffer, ZlibOptions, Buffer>(gzip)(bytes, { level: 9 });
    case 'zstd':
      return promisify<Buffer, ZstdOptions, Buffer>(zstdCompress)(bytes, {
        pledgedSrcSize: bytes.length,
        // The kernel allocates the window; 2 MiB is what the levels use for small files anyway.
        params: {
          [constants.ZSTD_c_compressionLevel]: 12,
          [constants.ZSTD_c_windowLog]: 21,
          [constants.ZSTD_c_checksumFlag]: 1,
        },
      });
    case 'xz': {
      const { xzCompress } = await import('./xz.ts');
      return xzCompress(bytes, signal);
    }
  }
}

/** Octets of a zstd frame's magic number (RFC 8878 section 3.1.1). */
const magicLength = 4;
const blockHeaderLength = 3;
const checksumLength = 4;
const blockTypeRepeated = 1;
const dictionaryIdLengths = [0, 1, 2, 4];
const contentSizeLengths = [0, 2, 4, 8];

/**
 * Returns the octets of the frame at the start of `bytes` (RFC 8878 section 3.1.1), since decoders that
 * ignore trailing bytes do not report it; null if the frame does not end within them.
 */
function zstdFrameLength(bytes: Buffer): number | null {
  const descriptor = bytes[magicLength];
  if (descriptor === undefined) return null;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const contentSizeFlag = descriptor >> 6;
  const contentSize =
    contentSizeFlag === 0 && isSingleSegment ? 1 : (contentSizeLengths[contentSizeFlag] ?? 0);
  let at =
    magicLength + 1 + (isSingleSegment ? 0 : 1) + (dictionaryIdLengths[descriptor & 0x03] ?? 0) + contentSize;
  for (let isLast = false; !isLast;) {
    if (at + blockHeaderLength > bytes.length) return null;
    const header = bytes.readUIntLE(at, blockHeaderLength);
    isLast = (header & 1) !== 0;
    const type = (header >> 1) & 0x03;
    at += blockHeaderLength + (type === blockTypeRepeated ? 1 : header >> 3);
  }
  if ((descriptor & 0x04) !== 0) at += checksumLength;
  return at <= bytes.length ? at : null;
}
