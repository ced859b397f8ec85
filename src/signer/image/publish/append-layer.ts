import type { PackedEntry } from '../../../registry/tar/pack.ts';
import type { TarEntryHeader } from '../../../registry/tar/entry.ts';
import { isContentAttribute } from '../../../registry/tar/pax.ts';
import { namesOutsideOstree } from '../plan/ostree.ts';
import type { SignedModule } from './sign-modules.ts';
import { parentsOf } from '../read/captures.ts';

/** The contents of an appended layer. */
export interface AppendedLayer {
  readonly modules: readonly SignedModule[];
  /**
   * Headers of the image's directories, by absolute path; null if the image has no entry for one. A path that
   * is absent is not a directory in one of the views, and must not be made one.
   */
  readonly directories: ReadonlyMap<string, TarEntryHeader | null>;
  /** Seconds since the epoch, for directories for which the image has no entry. */
  readonly sourceDateEpoch: number;
}

/** An entry of an appended layer, and the module it belongs to. */
export type AppendedEntry = PackedEntry & { readonly module?: SignedModule };

/**
 * Returns the entries of a layer with the signed modules and their parent directories: owner, mode, times and
 * extended attributes as in the image; files with several names under all of them (except those in an OSTree
 * repository, whose files must not change); parents before children; and modules in layer order, because a
 * module from an upper layer may occupy the path of one from a lower layer in one of the views.
 */
export function appendedEntries(options: AppendedLayer): AppendedEntry[] {
  const entries: AppendedEntry[] = [];
  const made = new Set<string>();
  for (const module of inOrderOfLayers(options.modules)) {
    const { found, replacement } = module;
    const [path = found.path, ...otherNames] = namesOutsideOstree(namesFor(module));
    for (const name of [path, ...otherNames]) {
      for (const directory of parentsOf(name)) {
        if (made.has(directory) || !options.directories.has(directory)) continue;
        made.add(directory);
        entries.push({ ...directoryEntry(directory, options), type: 'directory' });
      }
    }
    const header = withoutContentAttributes(found.header);
    entries.push({ header, path: path.slice(1), type: 'file', content: replacement, module });
    for (const name of otherNames) {
      entries.push({ header, path: name.slice(1), type: 'hardlink', linkPath: path.slice(1), module });
    }
  }
  return entries;
}

function withoutContentAttributes(header: TarEntryHeader): TarEntryHeader {
  const pax = header.pax.entries().filter(([key]) => !isContentAttribute(key));
  return { ...header, pax: new Map(pax) };
}

function inOrderOfLayers(modules: readonly SignedModule[]): SignedModule[] {
  return modules.toSorted(
    ({ found: a }, { found: b }) => a.layer - b.layer || a.header.index - b.header.index,
  );
}

/**
 * Returns a file's names as overlayfs shows them; where layers are extracted onto one directory, these lead
 * to the same files through its links.
 */
function namesFor({ found: { file } }: SignedModule): readonly string[] {
  const names = file.differs?.overlayfs ?? file.names;
  return names.length === 0 ? file.names : names;
}

function directoryEntry(
  path: string,
  { directories, sourceDateEpoch }: AppendedLayer,
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
