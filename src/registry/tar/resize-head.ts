import { blockSize, paddingOf, parseNumber, writeChecksum, writeNumber } from './fields.ts';
import { isContentAttribute } from './extended-attributes.ts';
import { formatPaxRecord, parsePaxRecords, type PaxRecord } from './pax.ts';

const sizeStart = 124;
const sizeEnd = 136;
const typeFlagOffset = 156;

/**
 * Gives the headers of an entry (extension headers, then its own) what is true of new content: its size, in the entry's own
 * header block and in the PAX record `size` where there is one, and no extended attributes that
 * hold a digest or signature of the old. Every other byte stays. @param size undefined: as before
 */
export function resizeHead(head: Buffer, size: number | undefined): Buffer {
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

/** The records as they have to be for new content; undefined when they may stay. */
function changeRecords(body: Buffer, size: number | undefined): Buffer | undefined {
  const records = parsePaxRecords(body) ?? [];
  const kept = records.filter(({ key }) => !isContentAttribute(key));
  if (kept.length === records.length && (size === undefined || !records.some(saysSize))) return undefined;
  return Buffer.concat(
    kept.map((record) =>
      formatPaxRecord(
        size !== undefined && saysSize(record)
          ? { key: record.key, value: Buffer.from(String(size), 'latin1') }
          : record,
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
