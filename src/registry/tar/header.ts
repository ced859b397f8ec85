import type { LentChunk } from '../../shared/chunks.ts';
import { hasValidChecksum, parseNumber, parseText } from './fields.ts';

/** A header block as stored, before extension headers are applied. */
export interface BlockHeader {
  readonly typeFlag: string;
  readonly name: string;
  readonly linkName: string;
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
  readonly userName: string;
  readonly groupName: string;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

type Format = 'v7' | 'ustar' | 'star' | 'gnu';

/**
 * Parses a header block as Go's archive/tar does. Returns undefined if the checksum or a number is invalid.
 */
export function parseHeader(block: LentChunk): BlockHeader | undefined {
  if (!hasValidChecksum(block)) return undefined;
  const format = detectFormat(block);
  const extended = format !== 'v7';
  const prefix = parsePrefix(block, format);
  if (prefix === undefined) return undefined;
  const name = parseText(block, 0, 100);
  const header: BlockHeader = {
    typeFlag: String.fromCharCode(block[156] ?? 0),
    name: prefix === '' ? name : `${prefix}/${name}`,
    linkName: parseText(block, 157, 257),
    size: parseNumber(block, 124, 136),
    mode: parseNumber(block, 100, 108),
    uid: parseNumber(block, 108, 116),
    gid: parseNumber(block, 116, 124),
    mtime: parseNumber(block, 136, 148),
    userName: extended ? parseText(block, 265, 297) : '',
    groupName: extended ? parseText(block, 297, 329) : '',
    deviceMajor: extended ? parseNumber(block, 329, 337) : 0,
    deviceMinor: extended ? parseNumber(block, 337, 345) : 0,
  };
  return hasNumbers(header) ? header : undefined;
}

function hasNumbers({ size, mode, uid, gid, mtime, deviceMajor, deviceMinor }: BlockHeader): boolean {
  return !Number.isNaN(size + mode + uid + gid + mtime + deviceMajor + deviceMinor);
}

function detectFormat(block: LentChunk): Format {
  const magic = block.toString('latin1', 257, 263);
  if (magic === 'ustar\0') return block.toString('latin1', 508, 512) === 'tar\0' ? 'star' : 'ustar';
  return magic === 'ustar ' && block.toString('latin1', 263, 265) === ' \0' ? 'gnu' : 'v7';
}

function parsePrefix(block: LentChunk, format: Format): string | undefined {
  switch (format) {
    case 'v7':
      return '';
    case 'ustar':
      return parseText(block, 345, 500);
    case 'star': {
      const times = parseNumber(block, 476, 488) + parseNumber(block, 488, 500);
      return Number.isNaN(times) ? undefined : parseText(block, 345, 476);
    }
    case 'gnu':
      return parseGnuPrefix(block);
  }
}

/**
 * The GNU format has no prefix, but Go before 1.8 wrote one in place of the access and change times. Go reads
 * it if these are not numbers (https://golang.org/issues/12594).
 */
function parseGnuPrefix(block: LentChunk): string {
  const accessTime = block[345] === 0 ? 0 : parseNumber(block, 345, 357);
  const changeTime = block[357] === 0 ? 0 : parseNumber(block, 357, 369);
  if (!Number.isNaN(accessTime + changeTime)) return '';
  const prefix = parseText(block, 345, 500);
  return /[^\p{ASCII}]/u.test(prefix) ? '' : prefix;
}
