import { posix } from 'node:path';
import type { Overlay, OverlayFile } from '../../../registry/layer/overlay.ts';
import { RegistryError } from '../../../registry/model/errors.ts';
import { copyContent, type TarEntry } from '../../../registry/tar/entry.ts';
import { isModuleName } from '../../kmod/compression.ts';
import { isDependencyListName, pathsOfDependencyList } from '../../kmod/modules-dep.ts';

/** Limit on the bytes of a modules.dep; those of distributions are under 1 MiB. */
const maxListBytes = 16 * 1024 * 1024;
/** Limit on the paths without a module's name, over all lists; usually there are none. */
const maxPaths = 10_000;

/** A file, and a path that leads to it. */
interface NamedFile {
  readonly path: string;
  readonly file: OverlayFile;
}

/**
 * Files that an image's modules.dep files list although they do not have a module's name (those that do are
 * found anyway): modprobe loads any listed file, whatever its name.
 */
export class DependencyLists {
  readonly #paths = new Map<string, readonly string[]>();
  readonly #read = new Set<string>();
  #count = 0;

  /** Returns whether a file entry with this path has to be added. */
  readonly matches = isDependencyListName;

  /** Reads a list while its layer streams by. @throws RegistryError LIMIT_EXCEEDED */
  async add(layer: number, entry: TarEntry): Promise<void> {
    if (entry.size > maxListBytes) throw tooLarge(entry.path, 'bytes', maxListBytes);
    const bytes = Buffer.alloc(entry.size);
    await copyContent(entry, bytes);
    const paths = [...new Set(pathsOfDependencyList(bytes).filter((path) => !isModuleName(path)))];
    this.#read.add(key(layer, entry.index));
    if (paths.length === 0) return;
    this.#count += paths.length;
    if (this.#count > maxPaths) throw tooLarge(entry.path, 'paths without the name of a module', maxPaths);
    this.#paths.set(key(layer, entry.index), paths);
  }

  /**
   * Returns lists with another name to which a symbolic link with a list's name leads. All layers must have
   * been added.
   */
  async unread(overlay: Overlay): Promise<OverlayFile[]> {
    const links = await overlay.symlinks(isDependencyListName);
    const files = new Map(links.map(({ file }) => [key(file.entry.layer, file.entry.index), file]));
    return [...files].flatMap(([name, file]) => (this.#read.has(name) ? [] : [file]));
  }

  /** Returns the files that visible lists name, with the path to each. All layers must have been added. */
  async namedFiles(overlay: Overlay): Promise<NamedFile[]> {
    if (this.#paths.size === 0) return [];
    const files = await overlay.files(isDependencyListName);
    const links = await overlay.symlinks(isDependencyListName);
    const lists = [...files.flatMap((file) => file.names.map((path) => ({ path, file }))), ...links];
    return lists.flatMap(({ path: list, file: { entry } }) => {
      const paths = this.#paths.get(key(entry.layer, entry.index)) ?? [];
      return paths.flatMap((named) => {
        const path = posix.resolve(posix.dirname(list), named);
        return overlay
          .resolve(path)
          .flatMap((found) => (found.state === 'file' ? [{ path, file: found.file }] : []));
      });
    });
  }
}

function key(layer: number, index: number): string {
  return `${layer}:${index}`;
}

function tooLarge(path: string, what: string, limit: number): RegistryError {
  return new RegistryError({
    code: 'LIMIT_EXCEEDED',
    message: `/${path} has more than ${limit} ${what}`,
    hint: 'A genuine modules.dep does not look like that: do not trust this image.',
    facts: { path, limit },
  });
}
