import type { PackedEntry } from '../../registry/tar/pack.ts';
import type { TarEntryHeader } from '../../registry/tar/entry.ts';
import { namesOutsideOstree } from './ostree.ts';
import type { SignedModule } from './plan.ts';

/** What goes into an appended layer. */
export interface AppendedLayerOptions {
  readonly modules: readonly SignedModule[];
  /** Headers of the image's directories, by absolute path. */
  readonly directories: ReadonlyMap<string, TarEntryHeader>;
  /** Seconds since the epoch, for directories of which the image has no entry. */
  readonly sourceDateEpoch: number;
}

/**
 * The entries of a layer with the signed modules and their parent directories: owner, mode, times and
 * extended attributes as they are in the image, files with several names with all of them (but those in an OSTree
 * repository, whose files stay as they are), parents before children.
 */
export function appendedEntries(options: AppendedLayerOptions): PackedEntry[] {
  const entries: PackedEntry[] = [];
  const made = new Set<string>();
  for (const { found, replacement } of options.modules) {
    const [path = found.path, ...otherNames] = namesOutsideOstree(found.file.names);
    for (const name of [path, ...otherNames]) {
      for (const directory of parents(name)) {
        if (made.has(directory)) continue;
        made.add(directory);
        entries.push({ ...directoryEntry(directory, options), type: 'directory' });
      }
    }
    entries.push({ header: found.header, path: path.slice(1), type: 'file', content: replacement });
    for (const name of otherNames) {
      entries.push({ header: found.header, path: name.slice(1), type: 'hardlink', linkPath: path.slice(1) });
    }
  }
  return entries;
}

/** `/a/b/c` → `/a`, `/a/b` */
function parents(path: string): string[] {
  const names = path.split('/').slice(1, -1);
  return names.map((_, index) => `/${names.slice(0, index + 1).join('/')}`);
}

function directoryEntry(
  path: string,
  { directories, sourceDateEpoch }: AppendedLayerOptions,
): { header: TarEntryHeader; path: string } {
  const name = path.slice(1);
  const header: TarEntryHeader = directories.get(path) ?? {
    index: 0,
    name,
    path: name,
    type: 'directory',
    size: 0,
    linkName: '',
    mode: 0o755,
    uid: 0,
    gid: 0,
    userName: '',
    groupName: '',
    mtime: sourceDateEpoch,
    deviceMajor: 0,
    deviceMinor: 0,
    pax: new Map<string, Buffer>(),
  };
  return { header, path: name };
}
