/** Octets of a zstd frame's magic number (RFC 8878 section 3.1.1). */
const magicLength = 4;
const blockHeaderLength = 3;
const checksumLength = 4;
const blockTypeRepeated = 1;
const dictionaryIdLengths = [0, 1, 2, 4];
const contentSizeLengths = [0, 2, 4, 8];

/**
 * Octets of the frame that `bytes` begin with (RFC 8878 section 3.1.1), which decoders that ignore what follows it do
 * not tell; null when it does not end within them.
 */
export function zstdFrameLength(bytes: Buffer): number | null {
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
