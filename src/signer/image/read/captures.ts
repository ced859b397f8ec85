import pLimit from 'p-limit';
import { defaultOverlayLimits } from '../../../registry/layer/step-budget.ts';
import type { Overlay } from '../../../registry/layer/overlay.ts';
import { RegistryError } from '../../../registry/model/errors.ts';
import type { TarEntry, TarEntryHeader } from '../../../registry/tar/entry.ts';
import type { LayerStore } from './layer-store.ts';
import type { SelectedFile } from './selection.ts';
import { extendedAttributeName } from '../../../registry/tar/pax.ts';

/** Limit on the bytes of one entry's PAX records: Linux allows 64 KiB for the values of an attribute. */
const maxEntryBytes = 256 * 1024;

/** Limit on the bytes of all headers. */
const maxBytes = 32 * 1024 ** 2;

/** Approximate bytes of a header without its PAX records. */
const plainHeaderBytes = 400;

/** What a scan does with the files that it encounters. */
export interface FileVisitor<T> {
  /**
   * Which parts of headers are kept: header blocks only; the files' extended attributes too; or also those of
   * their directories, to put them into a new layer.
   */
  readonly headerDetail: 'header-blocks' | 'attributes' | 'attributes-and-directories';
  /** Receives a copy of each layer's blob, to rewrite it later. */
  readonly layerStore?: LayerStore | undefined;
  /**
   * Called for every file that may turn out to be requested, while its layer streams by. The bytes are
   * provisional, and containers may not see the file: the result is used only once both are settled.
   */
  visit(entry: TarEntry): Promise<T>;
}

/** A requested file that a container would see. */
export interface FoundFile<T> extends SelectedFile {
  readonly header: TarEntryHeader;
  /** Index of its layer in the manifest. */
  readonly layer: number;
  readonly captured: T;
}

/** A position in an image: a layer, and an entry of its tar. */
interface Position {
  readonly layer: number;
  readonly index: number;
}

/** Data about an image's entries, kept until it is known which of them containers see. */
export class Captures<T> {
  readonly #visitor: FileVisitor<T>;
  readonly #headers = new HeaderStore();
  readonly #files = new Map<string, { readonly header: TarEntryHeader; readonly value: T }>();
  readonly #directories = new Map<string, TarEntryHeader>();
  /** Serializes visits, since visits of two layers would interfere in the memory that they reuse. */
  readonly #oneAtATime = pLimit(1);

  constructor(visitor: FileVisitor<T>) {
    this.#visitor = visitor;
  }

  get includesDirectories(): boolean {
    return this.#visitor.headerDetail === 'attributes-and-directories';
  }

  has(position: Position): boolean {
    return this.#files.has(positionKey(position));
  }

  /** Visits a file and keeps the result. @throws RegistryError LIMIT_EXCEEDED; whatever the visitor throws */
  async addFile(layer: number, entry: TarEntry): Promise<void> {
    if (this.#files.size >= defaultOverlayLimits.maxNames) throw tooManyFiles(defaultOverlayLimits.maxNames);
    const value = await this.#oneAtATime(() => this.#visitor.visit(entry));
    const header =
      this.#visitor.headerDetail === 'header-blocks' ? plainHeader(entry) : this.#headers.retain(entry);
    this.#files.set(positionKey({ layer, index: entry.index }), { header, value });
  }

  /** Keeps a directory's header. @throws RegistryError LIMIT_EXCEEDED */
  addDirectory(layer: number, header: TarEntryHeader): void {
    this.#directories.set(positionKey({ layer, index: header.index }), this.#headers.retain(header));
  }

  /** Joins a selected file with what was captured of it. */
  found(selected: SelectedFile): FoundFile<T> {
    const { layer, index } = selected.file.entry;
    const captured = this.#files.get(positionKey({ layer, index }));
    if (captured === undefined)
      throw new Error(`entry ${index} of layer ${layer} disappeared between two reads`);
    return { ...selected, header: captured.header, layer, captured: captured.value };
  }

  /** Returns the directories of the files' names, with their headers; null for one without its own entry. */
  directoriesOf(files: readonly SelectedFile[], overlay: Overlay): Map<string, TarEntryHeader | null> {
    const directories = new Map<string, TarEntryHeader | null>();
    for (const path of new Set(files.flatMap(({ file }) => file.names.flatMap(parentsOf)))) {
      const entry = overlay.directory(path);
      if (entry === undefined) continue;
      directories.set(path, entry === null ? null : (this.#directories.get(positionKey(entry)) ?? null));
    }
    return directories;
  }
}

/** Returns the parent directories of a path: `/a/b/c` → `/a`, `/a/b`. */
export function parentsOf(path: string): string[] {
  const names = path.split('/').slice(1, -1);
  return names.map((_, index) => `/${names.slice(0, index + 1).join('/')}`);
}

function positionKey({ layer, index }: Position): string {
  return `${layer}:${index}`;
}

function tooManyFiles(maxFiles: number): RegistryError {
  return new RegistryError({
    code: 'LIMIT_EXCEEDED',
    message: `The image has more than ${maxFiles} files that may be kernel modules`,
    hint: 'Name the files with --file.',
    facts: { maxFiles },
  });
}

/** Retains headers of entries that may be rewritten: extended attributes and times, within a limit. */
export class HeaderStore {
  #bytes = 0;

  /** Returns the parts of a header that are needed later. @throws RegistryError LIMIT_EXCEEDED */
  retain(header: TarEntryHeader): TarEntryHeader {
    const records = header.pax
      .entries()
      .filter(([key]) => key === 'mtime' || extendedAttributeName(key) !== undefined)
      .toArray();
    const bytes = records.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
    this.#bytes += plainHeaderBytes + bytes;
    if (bytes > maxEntryBytes) {
      const where = JSON.stringify(header.path.slice(0, 300));
      throw exceeded(`${where} has more than ${maxEntryBytes} bytes of extended attributes`, header.path);
    }
    if (this.#bytes > maxBytes)
      throw exceeded(
        `The headers of possible modules and their directories have more than ${maxBytes} bytes`,
      );
    return { ...withoutContent(header), pax: new Map(records) };
  }
}

/** Returns the header without its PAX records. */
function plainHeader(header: TarEntryHeader): TarEntryHeader {
  return { ...withoutContent(header), pax: new Map<string, Buffer>() };
}

/** Copies the header, because an entry that is being read keeps its chunk in memory. */
function withoutContent(header: TarEntryHeader): TarEntryHeader {
  const { index, name, path, type, size, linkName, mode, uid, gid, userName, groupName, mtime } = header;
  const { deviceMajor, deviceMinor, pax } = header;
  return Object.assign(
    { index, name, path, type, size, linkName, mode, uid, gid, userName, groupName, mtime },
    { deviceMajor, deviceMinor, pax },
  );
}

function exceeded(message: string, path?: string): RegistryError {
  return new RegistryError({ code: 'LIMIT_EXCEEDED', message, facts: { path, maxEntryBytes, maxBytes } });
}
