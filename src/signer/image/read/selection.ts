import type { Overlay, OverlayFile, Resolution } from '../../../registry/layer/overlay.ts';
import type { EntryFilter } from '../../../registry/layer/entry-filter.ts';
import { DependencyLists } from './dependency-lists.ts';
import type { ReadingRun } from './platform-images.ts';
import { SignerError } from '../../model/errors.ts';
import { isModuleName, moduleName } from '../../kmod/compression.ts';
import { dependencyListName } from '../../kmod/modules-dep.ts';
import { rebasePattern, type FilePattern } from '../../model/patterns.ts';

/** A requested file. */
export interface SelectedFile {
  readonly file: OverlayFile;
  /** The name under which it was requested, or its own. */
  readonly path: string;
  /** Requested by its exact path, so it must be a module whatever its name. */
  readonly explicit: boolean;
}

export interface SelectionResult {
  /** Sorted by path, each file once. */
  readonly files: readonly SelectedFile[];
  readonly unmatched: readonly FilePattern[];
}

/** How far down an image has to be read. */
export type Search =
  | { readonly kind: 'all-layers' }
  | {
      readonly kind: 'until-decided';
      /** Returns whether lower layers can no longer change anything. */
      isDecided(overlay: Overlay): boolean;
      /** Returns whether no file with a requested name has been seen yet. */
      mayNeedMoreLayers(): boolean;
    };

/** Decides which files of an image are selected. */
export interface Selection {
  readonly search: Search;
  /** Lists whose files are selected too, whatever their names; undefined: no lists. */
  readonly lists: DependencyLists | undefined;
  /** Selects at least the files that `mayMatch` and the lists do. */
  readonly filter: EntryFilter;
  /** Returns whether an entry of this (cleaned, relative) path may be selected; may err towards yes. */
  mayMatch(path: string): boolean;
  /**
   * Selects the files once the search has ended and lists have been read. @throws SignerError NOT_A_MODULE
   */
  select(overlay: Overlay): Promise<SelectionResult>;
}

/** Returns the selection for patterns; null selects every kernel module. */
export function createSelection(patterns: readonly FilePattern[] | null): Selection {
  if (patterns === null) return selectEveryModule(new DependencyLists());
  const exact = patterns.flatMap((pattern) => (pattern.exact === null ? [] : [pattern.exact]));
  const select = (overlay: Overlay) => selectPatterns(patterns, overlay);
  const names = new Set(exact.map(baseName));
  if (exact.length < patterns.length) {
    const mayMatch = (path: string) => names.has(baseName(path)) || isModuleName(path);
    const filter = { names, pattern: moduleName };
    return { search: { kind: 'all-layers' }, lists: undefined, filter, mayMatch, select };
  }
  const seen = new Set<string>();
  const isDecided = (overlay: Overlay) =>
    exact.every((path) => seen.has(baseName(path)) && overlay.resolve(path)[0].state !== 'undecided');
  return {
    search: { kind: 'until-decided', isDecided, mayNeedMoreLayers: () => seen.size === 0 },
    lists: undefined,
    filter: { names },
    mayMatch(path) {
      const name = baseName(path);
      if (names.has(name)) seen.add(name);
      return names.has(name);
    },
    select,
  };
}

const moduleOrListName = new RegExp(`${moduleName.source}|${dependencyListName.source}`);

function selectEveryModule(lists: DependencyLists): Selection {
  return {
    search: { kind: 'all-layers' },
    lists,
    filter: { pattern: moduleOrListName },
    mayMatch: isModuleName,
    async select(overlay) {
      const listed = await lists.namedFiles(overlay);
      const files = new Map<string, SelectedFile>();
      for (const file of await overlay.files(isModuleName)) {
        const path = isModuleName(file.path) ? file.path : file.names.find(isModuleName);
        if (path !== undefined) files.set(entryKey(file), { file, path, explicit: false });
      }
      for (const { path, file } of [...(await overlay.symlinks(isModuleName)), ...listed]) {
        if (!files.has(entryKey(file))) files.set(entryKey(file), { file, path, explicit: false });
      }
      return { files: sorted(files.values()), unmatched: [] };
    },
  };
}

async function selectPatterns(patterns: readonly FilePattern[], overlay: Overlay): Promise<SelectionResult> {
  const files = new Map<string, SelectedFile>();
  const unmatched: FilePattern[] = [];
  const hasGlobs = patterns.some(({ exact }) => exact === null);
  const modules = hasGlobs ? await overlay.files(isModuleName) : [];
  for (const pattern of patterns) {
    const matches =
      pattern.exact === null ? matchGlob(pattern, modules, overlay) : matchExact(pattern.exact, overlay);
    if (matches.length === 0) unmatched.push(pattern);
    for (const match of matches) {
      if (match.explicit || !files.has(entryKey(match.file))) files.set(entryKey(match.file), match);
    }
  }
  return { files: sorted(files.values()), unmatched };
}

/** Returns the file at a path; two if containers see a different one in each view. */
function matchExact(path: string, overlay: Overlay): SelectedFile[] {
  const resolutions: readonly Resolution[] = overlay.resolve(path);
  const files = resolutions.flatMap((found) => (found.state === 'file' ? [found.file] : []));
  const other = resolutions.find((found) => found.state === 'other');
  if (files.length === 0 && other !== undefined) {
    throw new SignerError({
      code: 'NOT_A_MODULE',
      message: `${path} is not a regular file in the image, but a ${other.type}`,
      facts: { path, type: other.type },
    });
  }
  return files.map((file) => ({ file, path, explicit: true }));
}

/**
 * Returns the modules that a glob matches, under any of their names and any spelling of the glob's directory.
 */
function matchGlob(pattern: FilePattern, modules: readonly OverlayFile[], overlay: Overlay): SelectedFile[] {
  const real = overlay
    .realDirectories(pattern.base)
    .map((base) => (base === pattern.base ? pattern : rebasePattern(pattern, base)));
  const matches: SelectedFile[] = [];
  for (const file of modules) {
    const name = file.names.find(
      (candidate) => isModuleName(candidate) && real.some((one) => one.matches(candidate)),
    );
    if (name !== undefined) matches.push({ file, path: name, explicit: false });
  }
  return matches;
}

function sorted(files: Iterable<SelectedFile>): SelectedFile[] {
  return [...files].toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

function entryKey({ entry }: OverlayFile): string {
  return `${entry.layer}:${entry.index}`;
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** The matches of a scan. */
interface Matches {
  readonly files: readonly unknown[];
  readonly unmatched: readonly FilePattern[];
}

/**
 * Requires a match of every pattern in at least one platform or, without patterns, at least one module,
 * unless the run allows unmatched patterns. @throws SignerError FILE_NOT_IN_IMAGE
 */
export function requireMatches(
  scans: readonly Matches[],
  { patterns, allowUnmatched, source }: Pick<ReadingRun, 'patterns' | 'allowUnmatched' | 'source'>,
): void {
  if (allowUnmatched) return;
  const image = source.repository.name;
  if (patterns === null) {
    if (scans.some(({ files }) => files.length > 0)) return;
    throw notInImage(`${image} contains no kernel module`, image, []);
  }
  const missing = patterns.filter((pattern) => scans.every(({ unmatched }) => unmatched.includes(pattern)));
  if (missing.length === 0) return;
  const names = missing.map(({ text }) => text);
  throw notInImage(`${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} not in ${image}`, image, names);
}

function notInImage(message: string, image: string, patterns: readonly string[]): SignerError {
  const elsewhere =
    patterns.length === 0
      ? 'Only files named *.ko, *.ko.gz, *.ko.xz or *.ko.zst are found by default; --file accepts a path with any name'
      : 'kmm-sign inspect without --file lists all modules of an image';
  return new SignerError({
    code: 'FILE_NOT_IN_IMAGE',
    message,
    hint: `${elsewhere}; --allow-unmatched continues without it.`,
    facts: { image, patterns },
  });
}
