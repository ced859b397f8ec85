import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { copyOf, type LentChunks } from '../../shared/chunks.ts';
import { type Digest, digestAlgorithm, digestHex } from '../model/digest.ts';
import { maxManifestSize } from '../model/json.ts';
import type { Descriptor, Manifest, RawManifest } from '../model/manifest.ts';
import { parseManifest } from '../model/parse-manifest.ts';
import type { Selector } from '../model/reference.ts';
import { BlobStream, digestMismatch } from '../transfer/blob-stream.ts';
import type { BlobOutcome } from '../transfer/upload.ts';
import {
  blobPath,
  isMissing,
  layoutError,
  openLayoutFile,
  readLayoutFile,
  removeLayoutFile,
  removeLeftovers,
  withLayoutMutex,
  withStaging,
  type WriteLayoutFile,
} from './layout-files.ts';
import { addToIndex, ensureLayout, readLayoutIndex, removeFromIndex, tagOf } from './layout-index.ts';
import {
  deferredStream,
  type ImageRepository,
  type OperationOptions,
  taggedReferrers,
  type Traffic,
} from './repository.ts';

/** Bytes read from disk at a time. */
const readSize = 1024 * 1024;

/** An OCI image layout on disk (image-spec, image-layout.md). The first write creates it. */
export class LayoutRepository implements ImageRepository {
  readonly kind = 'layout';
  readonly name: string;
  readonly storage: string;
  /** A layout transfers nothing over HTTP. */
  readonly traffic: Traffic = { bytesDown: 0, bytesUp: 0 };
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.storage = resolve(directory);
    this.name = `oci:${directory}`;
  }

  async resolve(selector: Selector): Promise<Descriptor> {
    const index = await readLayoutIndex(this.#directory);
    const entries = index.manifests.filter((entry) =>
      'digest' in selector ? entry.digest === selector.digest : tagOf(entry) === selector.tag,
    );
    const [entry] = entries;
    if (entry === undefined) {
      if ('digest' in selector) return this.#describe(selector.digest);
      throw layoutError('NOT_FOUND', this.#directory, `there is no tag "${selector.tag}"`);
    }
    if (entries.some(({ digest }) => digest !== entry.digest)) {
      throw layoutError(
        'INVALID_MANIFEST',
        this.#directory,
        `index.json has the tag "${tagOf(entry)}" for several images`,
      );
    }
    return { mediaType: entry.mediaType, digest: entry.digest, size: entry.size };
  }

  /**
   * Returns the image of a layout that contains a single one.
   * @throws RegistryError NOT_FOUND, INVALID_REFERENCE
   */
  async defaultSelector(): Promise<Selector> {
    const { manifests } = await readLayoutIndex(this.#directory);
    const [digest, ...others] = new Set(manifests.map((entry) => entry.digest));
    if (digest === undefined) throw layoutError('NOT_FOUND', this.#directory, 'the layout has no image');
    if (others.length === 0) return { digest };
    const hint = `Name a tag, as in oci:${this.#directory}:TAG.`;
    throw layoutError(
      'INVALID_REFERENCE',
      this.#directory,
      `the layout has ${others.length + 1} images`,
      hint,
    );
  }

  async getManifest(selector: Selector): Promise<Manifest> {
    const { mediaType, digest, size } = await this.resolve(selector);
    const bytes = await this.#readManifest(digest);
    const place = { mediaType, digest, size };
    if (bytes.length !== size)
      throw digestMismatch(place, this.name, `does not have the ${size} bytes its descriptor promises`);
    if (hashOf(digest, bytes) !== digestHex(digest)) {
      throw digestMismatch(place, this.name, 'does not match its digest');
    }
    return parseManifest({ mediaType, digest, bytes });
  }

  async openBlob(descriptor: Descriptor, { signal }: OperationOptions = {}): Promise<Readable> {
    return BlobStream.open({
      descriptor,
      place: this.name,
      resumes: false,
      signal,
      open: async (start) => {
        const file = await this.#openBlobFile(descriptor);
        return { body: file.createReadStream({ start, highWaterMark: readSize }), start };
      },
    });
  }

  async hasBlob({ digest, size }: Descriptor): Promise<boolean> {
    try {
      const file = await openLayoutFile(this.#directory, blobPath(digest));
      const status = await file.stat();
      await file.close();
      return status.size === size;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  async putBlob(
    descriptor: Descriptor,
    open: () => LentChunks,
    { signal }: OperationOptions = {},
  ): Promise<BlobOutcome> {
    await ensureLayout(this.#directory, signal);
    if (await this.hasBlob(descriptor)) return 'exists';
    const verified = deferredStream(() =>
      BlobStream.open({
        descriptor,
        place: this.name,
        resumes: false,
        signal,
        open: () => Promise.resolve({ body: copiedChunks(open()), start: 0 }),
      }),
    );
    await withStaging(this.#directory, signal, (write) =>
      write(blobPath(descriptor.digest), (file) => file.writeFile(verified)),
    );
    return 'uploaded';
  }

  copyBlob(
    descriptor: Descriptor,
    from: ImageRepository,
    options: OperationOptions = {},
  ): Promise<BlobOutcome> {
    return this.putBlob(descriptor, () => deferredStream(() => from.openBlob(descriptor, options)), options);
  }

  async putManifest(
    manifest: RawManifest,
    { tag, signal }: OperationOptions & { readonly tag?: string | undefined } = {},
  ): Promise<void> {
    const { mediaType, digest, bytes } = manifest;
    if (hashOf(digest, bytes) !== digestHex(digest)) {
      const descriptor = { mediaType, digest, size: bytes.length };
      throw digestMismatch(descriptor, this.name, 'does not match its digest');
    }
    await ensureLayout(this.#directory, signal);
    await this.#change(signal, async (write) => {
      // Check even if it existed before: another process may have deleted it.
      if (!(await this.hasBlob({ mediaType, digest, size: bytes.length }))) {
        await write(blobPath(digest), (file) => file.writeFile(bytes));
      }
      await addToIndex({ directory: this.#directory, write }, manifest, tag);
    });
  }

  async deleteManifest(digest: Digest, { signal }: OperationOptions = {}): Promise<void> {
    await readLayoutIndex(this.#directory);
    const found = await this.#change(signal, async (write) => {
      await removeFromIndex({ directory: this.#directory, write }, digest);
      return removeLayoutFile(this.#directory, blobPath(digest));
    });
    if (!found) throw this.#notFound(digest);
  }

  async listTags(): Promise<string[]> {
    const { manifests } = await readLayoutIndex(this.#directory);
    return [...new Set(manifests.flatMap((entry) => tagOf(entry) ?? []))];
  }

  listReferrers(digest: Digest, options: OperationOptions = {}): Promise<readonly Descriptor[]> {
    return taggedReferrers(this, digest, options);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  removeLeftovers(): Promise<void> {
    return removeLeftovers(this.#directory);
  }

  /** Changes index.json under the mutex. */
  #change<Result>(
    signal: AbortSignal | undefined,
    operation: (write: WriteLayoutFile) => Promise<Result>,
  ): Promise<Result> {
    return withStaging(this.#directory, signal, (write) =>
      withLayoutMutex(this.#directory, signal, () => operation(write)),
    );
  }

  /** Describes a manifest that is only referenced by another one. */
  async #describe(digest: Digest): Promise<Descriptor> {
    const bytes = await this.#readManifest(digest);
    const { raw } = parseManifest({ mediaType: '', digest, bytes });
    return { mediaType: raw.mediaType, digest, size: bytes.length };
  }

  async #readManifest(digest: Digest): Promise<Buffer> {
    try {
      return await readLayoutFile(this.#directory, blobPath(digest), maxManifestSize);
    } catch (error) {
      throw isMissing(error) ? this.#notFound(digest) : error;
    }
  }

  async #openBlobFile(descriptor: Descriptor): Promise<FileHandle> {
    try {
      const file = await openLayoutFile(this.#directory, blobPath(descriptor.digest));
      const { size } = await file.stat();
      if (size === descriptor.size) return file;
      await file.close();
      throw digestMismatch(
        descriptor,
        this.name,
        `has ${size} bytes instead of the ${descriptor.size} its descriptor promises`,
      );
    } catch (error) {
      if (isMissing(error))
        throw layoutError('BLOB_NOT_FOUND', this.#directory, `there is no blob ${descriptor.digest}`);
      throw error;
    }
  }

  #notFound(digest: Digest): Error {
    return layoutError('NOT_FOUND', this.#directory, `there is no manifest ${digest}`);
  }
}

function hashOf(digest: Digest, bytes: Buffer): string {
  return createHash(digestAlgorithm(digest)).update(bytes).digest('hex');
}

/** Streams copies of chunks, since a stream reads ahead. */
function copiedChunks(source: LentChunks): Readable {
  if (source instanceof Readable) return source;
  return Readable.from(
    (async function* () {
      for await (const chunk of source) yield copyOf(chunk);
    })(),
  );
}
