/** What is at a path of a tree, without its flags. */
export const kinds = {
  nothing: 0,
  directory: 1,
  file: 2,
  symlink: 3,
  'character-device': 4,
  'block-device': 5,
  fifo: 6,
  /** Only in the directory of one layer: hides what lower layers have. */
  whiteout: 7,
  /** Only in the directory of one layer: a hard link to what is not in that layer. */
  'foreign-link': 8,
} as const;

export type Kind = (typeof kinds)[keyof typeof kinds];

const kindMask = 0xf;
const opaqueFlag = 0x10;
const certainFlag = 0x20;
const entryShift = 6;

/** Entries that can be told apart. */
export const maxEntryNumber = 2 ** (31 - entryShift) - 2;

/**
 * What is at a path, as one number: its kind, flags, and the entry that put it there, so that trees are arrays of
 * numbers. 0 is nothing.
 */
export type NodeCode = number;

/** A directory that has no entry, but came about as a parent. */
export const impliedDirectory: NodeCode = kinds.directory;

/** @param entry number of the entry in the image */
export function nodeOf(kind: Kind, entry: number): NodeCode {
  return ((entry + 1) << entryShift) | kind;
}

export function kindOf(node: NodeCode): number {
  return node & kindMask;
}

/** The number of the entry that put it there; undefined when there is none. */
export function entryOf(node: NodeCode): number | undefined {
  const entry = (node >>> entryShift) - 1;
  return entry < 0 ? undefined : entry;
}

export function isDirectory(node: NodeCode): boolean {
  return (node & kindMask) === kinds.directory;
}

/** A directory that hides those of the same path in lower layers. */
export function isOpaque(node: NodeCode): boolean {
  return (node & opaqueFlag) !== 0;
}

export function asOpaque(node: NodeCode): NodeCode {
  return node | opaqueFlag;
}

/** A directory, opaque if the one before it was. */
export function withOpacityOf(node: NodeCode, before: NodeCode): NodeCode {
  return isOpaque(before) ? asOpaque(node) : node;
}

/** Something whose place does not depend on lower layers. */
export function isCertain(node: NodeCode): boolean {
  return (node & certainFlag) !== 0;
}

export function asCertain(node: NodeCode): NodeCode {
  return node | certainFlag;
}
