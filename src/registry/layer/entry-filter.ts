import type { TarEntryHeader } from '../tar/entry.ts';

/** Which files of a layer are of interest, as data that can be passed to a thread: those that any part selects. */
export interface EntryFilter {
  /** Matched against the path. */
  readonly pattern?: RegExp | undefined;
  /** Last parts of paths. */
  readonly names?: ReadonlySet<string> | undefined;
  /** Positions in the tar. */
  readonly indexes?: ReadonlySet<number> | undefined;
}

/** Tells whether a filter selects a file. */
export function isSelected(
  { pattern, names, indexes }: EntryFilter,
  { path, index }: Pick<TarEntryHeader, 'path' | 'index'>,
): boolean {
  if (indexes?.has(index) === true || pattern?.test(path) === true) return true;
  return names !== undefined && names.size > 0 && names.has(path.slice(path.lastIndexOf('/') + 1));
}
