import type { PathLimits } from './path-table.ts';

/** Limits of all layers of an image together, so that a hostile one takes neither the memory nor the time. */
export interface OverlayLimits extends PathLimits {
  readonly maxEntries: number;
  /** Characters of the targets of links. */
  readonly maxLinkCharacters: number;
  /** Names to look up: about one for each directory of each entry, and what symbolic links add to that. */
  readonly maxSteps: number;
  /** Names of files that are looked for, such as those of kernel modules. */
  readonly maxNames: number;
}

const mebi = 1024 ** 2;

export const defaultOverlayLimits: OverlayLimits = {
  maxEntries: mebi,
  maxPaths: 1.25 * mebi,
  maxNameCharacters: 32 * mebi,
  maxLinkCharacters: 16 * mebi,
  maxSteps: 64 * mebi,
  maxNames: 128 * 1024,
};
