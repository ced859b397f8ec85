import { blockSize, paddingOf, parseNumber, writeChecksum, writeNumber } from './fields.ts';
import { formatPaxRecord, parsePaxRecords, type PaxRecord } from './pax.ts';

const sizeStart = 124;
const sizeEnd = 136;
const typeFlagOffset = 156;

/**
 * Gives the headers of an entry (extension headers, then its own) a new size: in its own header block, and in
 * the PAX record `size` where there is one. Every other byte stays.
 */
export function resizeHead(head: Buffer, size: number): Buffer {
  const parts: Buffer[] = [];
  let offset = 0;
  while (offset < head.length - blockSize) {
    const block = head.subarray(offset, offset + blockSize);
    const bodySize = parseNumber(block, sizeStart, sizeEnd);
    const end = offset + blockSize + bodySize + paddingOf(bodySize);
    const body = head.subarray(offset + blockSize, offset + blockSize + bodySize);
    const resized = block[typeFlagOffset] === 'x'.charCodeAt(0) ? resizeRecords(body, size) : undefined;
    if (resized === undefined) parts.push(head.subarray(offset, end));
    else parts.push(withSize(block, resized.length), resized, Buffer.alloc(paddingOf(resized.length)));
    offset = end;
  }
  parts.push(withSize(head.subarray(offset), size));
  return Buffer.concat(parts);
}

/** The records with a new `size`; undefined when they have none. */
function resizeRecords(body: Buffer, size: number): Buffer | undefined {
  const records = parsePaxRecords(body) ?? [];
  if (!records.some(saysSize)) return undefined;
  return Buffer.concat(
    records.map((record) =>
      formatPaxRecord(
        saysSize(record) ? { key: record.key, value: Buffer.from(String(size), 'latin1') } : record,
      ),
    ),
  );
}

/** An empty value leaves the size of the header block in force. */
function saysSize({ key, value }: PaxRecord): boolean {
  return key === 'size' && value.length > 0;
}

function withSize(block: Buffer, size: number): Buffer {
  const copy = Buffer.from(block);
  writeNumber(copy, sizeStart, sizeEnd, size);
  writeChecksum(copy);
  return copy;
}
