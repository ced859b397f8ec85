import { PassThrough, type Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type { LentChunks } from '../../shared/chunks.ts';
import { type Digest, digestAlgorithm, digestHex } from '../model/digest.ts';
import { RegistryError } from '../model/errors.ts';
import { maxManifestSize } from '../model/json.ts';
import type { ChildDescriptor, Descriptor, Manifest, RawManifest } from '../model/manifest.ts';
import { isNonDistributableLayerType } from '../model/media-types.ts';
import type { Selector } from '../model/reference.ts';
import type { BegunBlob, BlobOutcome } from '../transfer/upload.ts';

/** Options of all operations on a repository. */
export interface OperationOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Options of `putBlob`. */
export interface PutBlobOptions extends OperationOptions {
  /** Is finished if possible, and disposed of. */
  readonly begun?: BegunBlob | undefined;
}

/** Bytes of the HTTP bodies of manifests and blobs transferred for this repository so far. */
export interface Traffic {
  readonly bytesDown: number;
  readonly bytesUp: number;
}

/**
 * A repository of manifests and blobs: one in a registry, or an OCI layout on disk. All content read from it
 * is verified against its digest.
 */
export interface ImageRepository {
  readonly kind: 'remote' | 'layout';
  /** The name in messages: `registry.example:5000/vendor/driver` or `oci:DIR`. */
  readonly name: string;
  /**
   * Equal for repositories between which blobs can be mounted without a transfer: the registry's origin, or
   * the layout's directory.
   */
  readonly storage: string;
  readonly traffic: Traffic;

  /**
   * Returns what to use if neither tag nor digest is given.
   * @throws RegistryError NOT_FOUND, INVALID_REFERENCE
   */
  defaultSelector(): Promise<Selector>;
  /** Resolves a tag or digest to a descriptor. @throws RegistryError NOT_FOUND only if it does not exist */
  resolve(selector: Selector, options?: OperationOptions): Promise<Descriptor>;
  /**
   * Reads and parses a manifest, and verifies its digest.
   * @throws RegistryError NOT_FOUND, INVALID_MANIFEST, DIGEST_MISMATCH, UNSUPPORTED_MEDIA_TYPE
   */
  getManifest(selector: Selector, options?: OperationOptions): Promise<Manifest>;
  /**
   * Streams a blob. Broken connections are resumed. The content is unverified until the stream ends: if
   * digest or size do not match, it ends in an error (DIGEST_MISMATCH), never in `end`.
   * @throws RegistryError BLOB_NOT_FOUND
   */
  openBlob(descriptor: Descriptor, options?: OperationOptions): Promise<Readable>;
  hasBlob(descriptor: Descriptor, options?: OperationOptions): Promise<boolean>;
  /**
   * Checks for write permission before much is read for a write; stores nothing. What it returns has to be disposed of
   * once the write is over.
   * @throws RegistryError what writing would: UNAUTHORIZED, DENIED, NOT_FOUND
   */
  checkPush?(options?: OperationOptions): Promise<AsyncDisposable>;
  /**
   * Begins to store a blob that is still being made, for `putBlob` to finish. `open` must yield its bytes from the start
   * on each call, as they come to be. Returns undefined where that was refused before; a repository without this
   * method stores blobs only once they are complete.
   */
  beginBlob?(open: () => LentChunks, options?: OperationOptions): BegunBlob | undefined;
  /**
   * Stores a blob unless it exists. `open` must yield its bytes from the start on each call: it is called
   * again if an upload has to start over.
   */
  putBlob(descriptor: Descriptor, open: () => LentChunks, options?: PutBlobOptions): Promise<BlobOutcome>;
  /**
   * Copies a blob from another repository: it already exists, is mounted, or else is streamed, never stored
   * in between.
   */
  copyBlob(descriptor: Descriptor, from: ImageRepository, options?: OperationOptions): Promise<BlobOutcome>;
  /**
   * Stores a manifest under its digest and, last of all, under `tag` if given. The registry's digest must
   * match ours.
   * @throws RegistryError DIGEST_MISMATCH
   */
  putManifest(
    manifest: RawManifest,
    options?: OperationOptions & { readonly tag?: string | undefined },
  ): Promise<void>;
  /** Deletes a manifest by digest. @throws RegistryError NOT_FOUND */
  deleteManifest(digest: Digest, options?: OperationOptions): Promise<void>;
  listTags(options?: OperationOptions): Promise<string[]>;
  /** Lists signatures, attestations and other manifests that refer to one; only the first page. */
  listReferrers(digest: Digest, options?: OperationOptions): Promise<readonly Descriptor[]>;
  /** Removes what killed processes left here, if that is possible now; a registry does that itself. Never throws. */
  removeLeftovers?(): Promise<void>;
  /** Releases connections. The repository must not be used afterwards. */
  close(): Promise<void>;
}

/**
 * Returns the tag under which something about a manifest is stored: cosign's `sha256-….sig`, or `sha256-…`
 * for referrers.
 */
export function tagForDigest(digest: Digest, ending = ''): string {
  return `${digestAlgorithm(digest)}-${digestHex(digest)}${ending}`;
}

/**
 * Lists what refers to a manifest by the tag used for registries without the API (distribution-spec,
 * "Referrers Tag Schema").
 */
export async function taggedReferrers(
  repository: ImageRepository,
  digest: Digest,
  options: OperationOptions,
): Promise<readonly ChildDescriptor[]> {
  try {
    const index = await repository.getManifest({ tag: tagForDigest(digest) }, options);
    return index.kind === 'index' && index.raw.digest !== digest ? index.manifests : [];
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'NOT_FOUND') return [];
    throw error;
  }
}

/** Bytes read ahead of the consumer. */
const highWaterMark = 1024 * 1024;

/** Returns a stream that can be passed on before it has been opened. */
export function deferredStream(open: () => Promise<Readable>): Readable {
  const stream = new PassThrough({ highWaterMark });
  void connect(open, stream);
  return stream;
}

async function connect(open: () => Promise<Readable>, stream: PassThrough): Promise<void> {
  try {
    await pipeline(await open(), stream);
  } catch (error) {
    stream.destroy(
      error instanceof Error ? error : new Error('the stream cannot be opened', { cause: error }),
    );
  }
}

/**
 * Opens the blob of a layer. A non-distributable ("foreign") one is read like any other, since runtimes
 * unpack it.
 * @throws RegistryError BLOB_NOT_FOUND, with advice if the layer may be stored elsewhere
 */
export async function openLayer(
  repository: ImageRepository,
  descriptor: Descriptor,
  options: OperationOptions = {},
): Promise<Readable> {
  try {
    return await repository.openBlob(descriptor, options);
  } catch (error) {
    if (!isMissingForeignLayer(error, descriptor)) throw error;
    const { digest, urls = [] } = descriptor;
    throw new RegistryError({
      code: 'BLOB_NOT_FOUND',
      message: `${repository.name} does not have the non-distributable layer ${digest}, so its content cannot be checked`,
      hint: 'Push the image with all its layers (docker: allow-nondistributable-artifacts; containerd: --allow-non-distributable-blobs), or build it on a different base.',
      facts: { repository: repository.name, digest, urls: urls.map((url) => url.slice(0, 200)) },
    });
  }
}

/** Tells whether a blob is missing because it belongs to a non-distributable layer. */
export function isMissingForeignLayer(error: unknown, { mediaType }: Descriptor): boolean {
  return (
    error instanceof RegistryError &&
    error.code === 'BLOB_NOT_FOUND' &&
    isNonDistributableLayerType(mediaType)
  );
}

/**
 * Reads and verifies a whole small blob, such as a configuration.
 * @throws RegistryError LIMIT_EXCEEDED before anything is read, BLOB_NOT_FOUND, DIGEST_MISMATCH
 */
export async function readBlob(
  repository: ImageRepository,
  descriptor: Descriptor,
  options: OperationOptions = {},
): Promise<Buffer> {
  if (descriptor.size > maxManifestSize) {
    throw new RegistryError({
      code: 'LIMIT_EXCEEDED',
      message: `The blob ${descriptor.digest} of ${repository.name} has ${descriptor.size} bytes, more than the limit of ${maxManifestSize}`,
      facts: { repository: repository.name, digest: descriptor.digest },
    });
  }
  return buffer(await repository.openBlob(descriptor, options));
}
