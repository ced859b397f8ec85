import type { LayerEntry } from './layer.ts';

/** A regular file that a container would see. */
export interface OverlayFile {
  /** Absolute physical path (no symbolic link in it): the name of the entry with the content, or of a hard link to it. */
  readonly path: string;
  /** Every visible name of it (hard links), absolute, sorted; `path` is one of them. */
  readonly names: readonly string[];
  /** The `file` entry that holds the bytes. */
  readonly entry: LayerEntry;
}

/** What a path names, as far as the layers read until now can tell. */
export type Resolution =
  | { readonly state: 'file'; readonly file: OverlayFile }
  /** There is something else: a directory, a device, a symbolic link that leads nowhere or in a circle. */
  | { readonly state: 'other'; readonly type: string }
  | { readonly state: 'absent' }
  /** A lower layer, not read yet, could change the answer. */
  | { readonly state: 'undecided' };
