import type { ByteSource } from '../../shared/byte-source.ts';
import { damagedModule } from '../model/errors.ts';

/** One section of an ELF file. */
export interface ElfSection {
  readonly name: string;
  readonly type: number;
  readonly offset: number;
  /** Bytes in the file; 0 for a section without contents. */
  readonly size: number;
}

/** The parts of an ELF file that are read. */
export interface ElfFile {
  /** Only relocatable files have sections that a kernel loads; no sections are read from others. */
  readonly isRelocatable: boolean;
  readonly machine: number;
  readonly is64Bit: boolean;
  readonly littleEndian: boolean;
  readonly sections: readonly ElfSection[];
}

/** Magic and class octets at the start of a file (System V gABI, chapter 4). */
const magic = Buffer.from([0x7f, 0x45, 0x4c, 0x46]);
const typeRelocatable = 1;
const sectionNoBits = 8;
const sectionStringTable = 3;
const extendedIndex = 0xffff;
/** Modules built with one section per function have several thousand. */
const maxSections = 200_000;
/** Enough for the names of that many sections. */
const maxNameTable = 32 * 1024 * 1024;
/** The names that matter are short; longer ones are truncated. */
const maxNameLength = 64;

/** Returns whether a file starts like an ELF file. */
export function hasElfMagic(start: Buffer): boolean {
  return start.subarray(0, magic.length).equals(magic);
}

/**
 * Reads an ELF file of either width and byte order; returns null if the source is not an ELF file. Every
 * section of a relocatable file must lie inside the source. @throws SignerError DAMAGED_MODULE
 */
export async function readElf(source: ByteSource): Promise<ElfFile | null> {
  const start = await source.read(0, 64);
  if (!hasElfMagic(start)) return null;
  const header = readHeader(start);
  if (!header.isRelocatable) return { ...header, sections: [] };
  const raw = await readSectionTable(source, header);
  const names = await readNames(source, header, raw);
  return {
    ...header,
    sections: raw.map(({ nameOffset, type, offset, size }) => {
      const occupied = type === sectionNoBits ? 0 : size;
      if (offset + occupied > source.size && occupied > 0)
        throw damagedModule('a section lies beyond the end of the file');
      return { name: nameAt(names, nameOffset), type, offset, size: occupied };
    }),
  };
}

interface Header {
  readonly isRelocatable: boolean;
  readonly machine: number;
  readonly is64Bit: boolean;
  readonly littleEndian: boolean;
  readonly tableOffset: number;
  readonly sectionCount: number;
  readonly nameIndex: number;
}

interface RawSection {
  readonly nameOffset: number;
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
}

function readHeader(bytes: Buffer): Header {
  const [width, order] = bytes.subarray(4, 6);
  const headerLength = width === 2 ? 64 : 52;
  if (bytes.length < headerLength) throw damagedModule('the ELF header is cut short');
  if ((width !== 1 && width !== 2) || (order !== 1 && order !== 2))
    throw damagedModule('the ELF header is not valid');
  const fields = new Fields(bytes, order === 1, width === 2);
  const isRelocatable = fields.half(16) === typeRelocatable;
  const tail = headerLength - 6;
  if (isRelocatable && fields.half(tail) !== (width === 2 ? 64 : 40) && fields.half(tail + 2) !== 0) {
    throw damagedModule('the section headers have a wrong size');
  }
  return {
    isRelocatable,
    machine: fields.half(18),
    is64Bit: width === 2,
    littleEndian: order === 1,
    tableOffset: width === 2 ? fields.address(40) : fields.word(32),
    sectionCount: fields.half(tail + 2),
    nameIndex: fields.half(tail + 4),
  };
}

async function readSectionTable(source: ByteSource, header: Header): Promise<RawSection[]> {
  const { tableOffset, is64Bit } = header;
  const entrySize = is64Bit ? 64 : 40;
  if (tableOffset === 0) return [];
  let count = header.sectionCount;
  if (count === 0) {
    // With 0xff00 sections or more, the first entry's size holds the count.
    const first = await source.read(tableOffset, entrySize);
    if (first.length < entrySize) throw damagedModule('the section table lies beyond the end of the file');
    count = readSection(first, 0, header).size;
  }
  if (count > maxSections) throw damagedModule(`it has more than ${maxSections} sections`);
  const length = count * entrySize;
  if (tableOffset + length > source.size)
    throw damagedModule('the section table lies beyond the end of the file');
  const table = await source.read(tableOffset, length);
  if (table.length < length) throw damagedModule('the section table is cut short');
  return Array.from({ length: count }, (_, index) => readSection(table, index * entrySize, header));
}

function readSection(table: Buffer, at: number, { is64Bit, littleEndian }: Header): RawSection {
  const fields = new Fields(table, littleEndian, is64Bit);
  const nameOffset = fields.word(at);
  const type = fields.word(at + 4);
  return is64Bit
    ? {
        nameOffset,
        type,
        offset: fields.address(at + 24),
        size: fields.address(at + 32),
        link: fields.word(at + 40),
      }
    : {
        nameOffset,
        type,
        offset: fields.word(at + 16),
        size: fields.word(at + 20),
        link: fields.word(at + 24),
      };
}

async function readNames(source: ByteSource, { nameIndex }: Header, sections: RawSection[]): Promise<Buffer> {
  if (sections.length === 0) return Buffer.alloc(0);
  const table = sections[nameIndex === extendedIndex ? (sections[0]?.link ?? 0) : nameIndex];
  if (table === undefined || table.type !== sectionStringTable)
    throw damagedModule('the section names are missing');
  if (table.size > maxNameTable || table.offset + table.size > source.size) {
    throw damagedModule('the section names lie beyond the end of the file');
  }
  return source.read(table.offset, table.size);
}

function nameAt(names: Buffer, offset: number): string {
  // The bound keeps a table that is one endless name from being searched for every section.
  const start = names.subarray(offset, offset + maxNameLength);
  const end = start.indexOf(0);
  if (end >= 0) return start.toString('latin1', 0, end);
  if (start.length < maxNameLength) throw damagedModule('a section name lies outside the names');
  return start.toString('latin1');
}

/** Reads numbers in the file's own width and byte order. Callers check the positions. */
class Fields {
  readonly #bytes: Buffer;
  readonly #littleEndian: boolean;
  readonly #wide: boolean;

  constructor(bytes: Buffer, littleEndian: boolean, wide: boolean) {
    this.#bytes = bytes;
    this.#littleEndian = littleEndian;
    this.#wide = wide;
  }

  half(at: number): number {
    return this.#littleEndian ? this.#bytes.readUInt16LE(at) : this.#bytes.readUInt16BE(at);
  }

  word(at: number): number {
    return this.#littleEndian ? this.#bytes.readUInt32LE(at) : this.#bytes.readUInt32BE(at);
  }

  address(at: number): number {
    if (!this.#wide) return this.word(at);
    const value = this.#littleEndian ? this.#bytes.readBigUInt64LE(at) : this.#bytes.readBigUInt64BE(at);
    if (value > BigInt(Number.MAX_SAFE_INTEGER) / 2n) throw damagedModule('a size or position is impossible');
    return Number(value);
  }
}
