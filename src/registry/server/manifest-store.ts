import { join } from 'node:path';
import { isDigest, type Digest } from '../model/digest.ts';
import {
  fileSize,
  listDirectory,
  readSmallFile,
  removeFile,
  writeAtomically,
  type StorageLayout,
} from './storage.ts';

/** A manifest as stored. */
export interface StoredManifest {
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/**
 * Compares tags in the specification's order ("Listing Tags"): lexical, ignoring case; case decides between
 * equals.
 */
export function compareTags(one: string, other: string): number {
  return compareText(one.toLowerCase(), other.toLowerCase()) || compareText(one, other);
}

function compareText(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

/**
 * Stores manifests, tags and referrers of the repositories. A manifest is one file: its media type, a
 * newline, its bytes.
 */
export class ManifestStore {
  readonly #layout: StorageLayout;

  constructor(layout: StorageLayout) {
    this.#layout = layout;
  }

  async read(repository: string, digest: Digest): Promise<StoredManifest | undefined> {
    const file = await readSmallFile(this.#layout.manifestFile(repository, digest));
    const end = file?.indexOf('\n') ?? -1;
    if (file === undefined || end === -1) return undefined;
    return { mediaType: file.toString('utf8', 0, end), bytes: file.subarray(end + 1) };
  }

  async has(repository: string, digest: Digest): Promise<boolean> {
    return (await fileSize(this.#layout.manifestFile(repository, digest))) !== undefined;
  }

  /** Returns the size of a manifest in bytes; undefined if it does not exist. */
  async size(repository: string, digest: Digest): Promise<number | undefined> {
    return (await this.read(repository, digest))?.bytes.length;
  }

  async write(repository: string, digest: Digest, { mediaType, bytes }: StoredManifest): Promise<void> {
    const content = Buffer.concat([Buffer.from(`${mediaType}\n`), bytes]);
    await writeAtomically(this.#layout, this.#layout.manifestFile(repository, digest), content);
  }

  /** Removes a manifest and the tags that refer to it. Returns false if it did not exist. */
  async remove(repository: string, digest: Digest): Promise<boolean> {
    if (!(await this.has(repository, digest))) return false;
    for (const tag of await this.tags(repository)) {
      if ((await this.resolveTag(repository, tag)) === digest) await this.removeTag(repository, tag);
    }
    return removeFile(this.#layout.manifestFile(repository, digest));
  }

  async resolveTag(repository: string, tag: string): Promise<Digest | undefined> {
    const text = (await readSmallFile(join(this.#layout.tagDirectory(repository), tag)))?.toString('utf8');
    return text !== undefined && isDigest(text) ? text : undefined;
  }

  async writeTag(repository: string, tag: string, digest: Digest): Promise<void> {
    await writeAtomically(this.#layout, join(this.#layout.tagDirectory(repository), tag), digest);
  }

  async removeTag(repository: string, tag: string): Promise<boolean> {
    return removeFile(join(this.#layout.tagDirectory(repository), tag));
  }

  /** Returns all tags, in the order of compareTags. */
  async tags(repository: string): Promise<string[]> {
    return (await listDirectory(this.#layout.tagDirectory(repository))).toSorted(compareTags);
  }

  /** Records that `referrer` refers to `subject`, which need not exist. */
  async addReferrer(repository: string, subject: Digest, referrer: Digest): Promise<void> {
    await writeAtomically(
      this.#layout,
      join(this.#layout.referrerDirectory(repository, subject), referrer),
      '',
    );
  }

  async removeReferrer(repository: string, subject: Digest, referrer: Digest): Promise<void> {
    await removeFile(join(this.#layout.referrerDirectory(repository, subject), referrer));
  }

  /** Returns the digests of the manifests that refer to `subject`, in byte order. */
  async referrers(repository: string, subject: Digest): Promise<Digest[]> {
    const names = await listDirectory(this.#layout.referrerDirectory(repository, subject));
    return names.filter((name) => isDigest(name)).toSorted();
  }

  /** Tells whether anything was ever stored in a repository. */
  async hasRepository(repository: string): Promise<boolean> {
    const names = await listDirectory(this.#layout.repositoryDirectory(repository));
    return names.some((name) => name.startsWith('_'));
  }
}
