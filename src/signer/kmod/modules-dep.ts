/** Magic number and version of a kmod index (libkmod-index.h); any minor version is accepted. */
const indexMagic = 0xb007f457;
const indexMajorVersion = 2;
/** Flags of an offset in an index. */
const offsetMask = 0x0fffffff;
const hasPrefix = 0x80000000;
const hasValues = 0x40000000;
const hasChildren = 0x20000000;
/** Limit on the nodes visited: an index of all modules of a distribution has about 50,000. */
const maxNodes = 500_000;

/** What the path of a list ends with. */
export const dependencyListName: RegExp = /(?:^|\/)modules\.dep(?:\.bin)?$/;

/**
 * Returns whether a file with this name tells modprobe where modules are: the text file, or the index that
 * modprobe reads.
 */
export function isDependencyListName(path: string): boolean {
  return dependencyListName.test(path);
}

/** Returns the paths in a modules.dep or modules.dep.bin, as written there; none if it is unreadable. */
export function pathsOfDependencyList(bytes: Buffer): string[] {
  const isIndex = bytes.length >= 12 && bytes.readUInt32BE(0) === indexMagic;
  const lines = isIndex ? indexValues(bytes) : bytes.toString('utf8').split('\n');
  return lines.flatMap((line) => {
    // `kernel/a.ko: kernel/b.ko kernel/c.ko`
    const colon = line.indexOf(':');
    if (colon < 0) return [];
    const [path, dependencies] = [line.slice(0, colon), line.slice(colon + 1)];
    return [path, ...dependencies.split(/\s+/)].filter((name) => name !== '');
  });
}

/** Returns the values of an index, which is a prefix tree of module names. */
function indexValues(bytes: Buffer): string[] {
  if (bytes.readUInt32BE(4) >>> 16 !== indexMajorVersion) return [];
  const values: string[] = [];
  const seen = new Set<number>();
  const waiting = [bytes.readUInt32BE(8)];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (seen.has(next) || seen.size === maxNodes) continue;
    seen.add(next);
    waiting.push(...readNode(bytes, next, values));
  }
  return values;
}

/** Reads a node's values and returns the offsets of its children; anything beyond the end is ignored. */
function readNode(bytes: Buffer, offset: number, values: string[]): number[] {
  let at = offset & offsetMask;
  const children: number[] = [];
  if ((offset & hasPrefix) !== 0) at = endOfText(bytes, at) + 1;
  if ((offset & hasChildren) !== 0) {
    if (at + 2 > bytes.length) return [];
    const [first = 0, last = 0] = bytes.subarray(at, at + 2);
    at += 2;
    for (let letter = first; letter <= last; letter += 1, at += 4) {
      if (at + 4 > bytes.length) return children;
      const child = bytes.readUInt32BE(at);
      if (child !== 0) children.push(child);
    }
  }
  if ((offset & hasValues) === 0 || at + 4 > bytes.length) return children;
  const count = bytes.readUInt32BE(at);
  at += 4;
  for (let read = 0; read < count && at + 4 < bytes.length; read += 1) {
    const end = endOfText(bytes, at + 4);
    values.push(bytes.toString('utf8', at + 4, end));
    at = end + 1;
  }
  return children;
}

function endOfText(bytes: Buffer, start: number): number {
  const end = bytes.indexOf(0, start);
  return end < 0 ? bytes.length : end;
}
