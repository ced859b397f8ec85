import type { PackedEntry } from '../../../registry/tar/pack.ts';
import type { TarEntryHeader } from '../../../registry/tar/entry.ts';
import { isContentAttribute } from '../../../registry/tar/pax.ts';
import { namesOutsideOstree } from '../plan/ostree.ts';
import type { SignedModule } from './sign-modules.ts';
import { parentsOf } from '../read/captures.ts';
import type { Overlay, OverlayFile } from '../../../registry/layer/overlay.ts';
import { SignerError } from '../../model/errors.ts';

/** The contents of an appended layer. */
export interface AppendedLayer {
  readonly modules: readonly SignedModule[];
  /**
   * Headers of the image's directories, by absolute path; null if the image has no entry for one. A path that
   * is absent is not a directory in one of the views, and must not be added one.
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
  const added = new Set<string>();
  for (const module of inOrderOfLayers(options.modules)) {
    const { found, replacement } = module;
    const [path = found.path, ...otherNames] = namesOutsideOstree(namesFor(module));
    for (const name of [path, ...otherNames]) {
      for (const directory of parentsOf(name)) {
        if (added.has(directory) || !options.directories.has(directory)) continue;
        added.add(directory);
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

const views = ['overlayfs', 'extraction'] as const;

/**
 * Checks that a layer on top shows every signed module under its previous names, in every view, and nothing
 * else in their place. @throws SignerError VIEWS_DIFFER
 */
export async function checkAppended(
  overlay: Overlay,
  entries: readonly AppendedEntry[],
  modules: readonly SignedModule[],
): Promise<void> {
  const names = new Set(modules.flatMap(({ found }) => found.file.names.map(baseName)));
  const accepts = (name: string) => names.has(name);
  const signed = new Map(modules.map(({ found }) => [keyOf(found.file), found.path]));
  const listed = entries.map(({ path, type, linkPath = '' }) => ({ path, type, linkName: linkPath }));
  const after = await (await overlay.withTopLayer(listed)).files(accepts);
  const topLayer = after.reduce((top, { entry }) => Math.max(top, entry.layer), 0);
  const before = await overlay.files(accepts);
  for (const view of views) {
    const expected = placesOf(before, view, (file, name) => {
      // A file of an OSTree repository stays unchanged, even if it is linked to a module.
      const isSigned = namesOutsideOstree([name]).length > 0;
      return (isSigned ? signed.get(keyOf(file)) : undefined) ?? keyOf(file);
    });
    const shown = placesOf(after, view, (file) => {
      const module = file.entry.layer === topLayer ? entries[file.entry.index]?.module : undefined;
      return module?.found.path ?? keyOf(file);
    });
    const differing = new Set([...expected.keys(), ...shown.keys()]).values();
    const path = differing.find((one) => expected.get(one) !== shown.get(one));
    if (path !== undefined) throw differ(path);
  }
}

function placesOf(
  files: readonly OverlayFile[],
  view: (typeof views)[number],
  identify: (file: OverlayFile, name: string) => string,
): Map<string, string> {
  return new Map(
    files.flatMap((file) => (file.differs?.[view] ?? file.names).map((name) => [name, identify(file, name)])),
  );
}

function keyOf({ entry }: OverlayFile): string {
  return `${entry.layer}:${entry.index}`;
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function differ(path: string): SignerError {
  return new SignerError({
    code: 'VIEWS_DIFFER',
    message: `runtimes see different files at ${path}, and no layer on top of the image gives all of them the signed module`,
    hint: 'Sign with --mode rewrite. kmm-sign inspect shows what runtimes see.',
    facts: { path },
  });
}
