import type { PackedEntry } from '../../registry/tar/pack.ts';
import { packLayer } from '../../registry/tar/pack.ts';
import type { TarEntryHeader } from '../../registry/tar/entry.ts';
import type { SignedModule } from './plan.ts';
import { writeNewLayer, type LayerWriting, type NewLayer } from './write-layer.ts';

/** What goes into an appended layer. */
export interface AppendedLayerOptions extends LayerWriting {
  readonly modules: readonly SignedModule[];
  /** Headers of the image's directories, by absolute path. */
  readonly directories: ReadonlyMap<string, TarEntryHeader>;
  /** Seconds since the epoch, for directories of which the image has no entry. */
  readonly sourceDateEpoch: number;
}

/**
 * Writes a layer with the signed modules and their parent directories, owner, mode, times and extended
 * attributes as they are in the image. Files with several names keep them.
 */
export async function writeAppendedLayer(options: AppendedLayerOptions): Promise<NewLayer> {
  return writeNewLayer(packLayer(appendedEntries(options)), 'gzip', options);
}

/** The entries in the order in which they are extracted: parents before children, sorted by path. */
export function appendedEntries(
  options: Pick<AppendedLayerOptions, 'modules' | 'directories' | 'sourceDateEpoch'>,
): PackedEntry[] {
  const entries: PackedEntry[] = [];
  const made = new Set<string>();
  for (const { found, replacement } of options.modules) {
    const [path = found.file.path, ...otherNames] = found.file.names;
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
  { directories, sourceDateEpoch }: Pick<AppendedLayerOptions, 'directories' | 'sourceDateEpoch'>,
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
