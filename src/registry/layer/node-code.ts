/** The kinds of nodes, without flags. */
export const kinds = {
  nothing: 0,
  directory: 1,
  file: 2,
  symlink: 3,
  'character-device': 4,
  'block-device': 5,
  fifo: 6,
  /** Only in a single layer's directory: hides what lower layers contain. */
  whiteout: 7,
  /** Only in a single layer's directory: a hard link to something that is not in that layer. */
  'foreign-link': 8,
} as const;

export type Kind = (typeof kinds)[keyof typeof kinds];

const kindMask = 0xf;
const opaqueFlag = 0x10;
const certainFlag = 0x20;
const entryShift = 6;

/** The largest number of entries that can be represented. */
export const maxEntryNumber = 2 ** (31 - entryShift) - 2;

/**
 * What is at a path, as one number, so that trees are arrays of numbers: its kind, its flags, and the entry
 * that created it. 0 is nothing.
 */
export type NodeCode = number;

/** A directory without an entry of its own, created as a parent. */
export const impliedDirectory: NodeCode = kinds.directory;

/** @param entry number of the entry in the image */
export function nodeOf(kind: Kind, entry: number): NodeCode {
  return ((entry + 1) << entryShift) | kind;
}

export function kindOf(node: NodeCode): number {
  return node & kindMask;
}

/** Returns the number of the entry that created a node; undefined if there is none. */
export function entryOf(node: NodeCode): number | undefined {
  const entry = (node >>> entryShift) - 1;
  return entry < 0 ? undefined : entry;
}

export function isDirectory(node: NodeCode): boolean {
  return (node & kindMask) === kinds.directory;
}

/** Tells whether a directory hides those at the same path in lower layers. */
export function isOpaque(node: NodeCode): boolean {
  return (node & opaqueFlag) !== 0;
}

export function asOpaque(node: NodeCode): NodeCode {
  return node | opaqueFlag;
}

/** Marks a directory as opaque if the previous one was. */
export function withOpacityOf(node: NodeCode, before: NodeCode): NodeCode {
  return isOpaque(before) ? asOpaque(node) : node;
}

/** Tells whether the location of a node is independent of lower layers. */
export function isCertain(node: NodeCode): boolean {
  return (node & certainFlag) !== 0;
}

export function asCertain(node: NodeCode): NodeCode {
  return node | certainFlag;
}
