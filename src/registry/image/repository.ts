import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Digest, digestAlgorithm, digestHex } from '../model/digest.ts';
import { RegistryError } from '../model/errors.ts';
import type { ChildDescriptor, Descriptor, Manifest, RawManifest } from '../model/manifest.ts';
import type { Selector } from '../model/reference.ts';
import type { BlobOutcome } from '../transfer/upload.ts';

/** What every operation on a repository takes. */
export interface OperationOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Bytes of HTTP bodies of manifests and blobs, in this repository, so far. */
export interface Traffic {
  readonly bytesDown: number;
  readonly bytesUp: number;
}

/**
 * A place with manifests and blobs: one repository of a registry, or an OCI layout on disk.
 * All content that comes out of it is verified against its digest.
 */
export interface ImageRepository {
  readonly kind: 'remote' | 'layout';
  /** For messages: `registry.example:5000/vendor/driver` or `oci:DIR`. */
  readonly name: string;
  /**
   * Equal for repositories between which blobs can be linked without being transferred: the registry's
   * origin, or the layout's directory.
   */
  readonly storage: string;
  readonly traffic: Traffic;

  /** Returns what is meant where neither tag nor digest is given. @throws RegistryError NOT_FOUND, INVALID_REFERENCE */
  defaultSelector(): Promise<Selector>;
  /** Tag or digest to descriptor. @throws RegistryError NOT_FOUND only if it does not exist */
  resolve(selector: Selector, options?: OperationOptions): Promise<Descriptor>;
  /** Reads and parses a manifest, and verifies its digest. @throws RegistryError NOT_FOUND, INVALID_MANIFEST, DIGEST_MISMATCH, UNSUPPORTED_MEDIA_TYPE */
  getManifest(selector: Selector, options?: OperationOptions): Promise<Manifest>;
  /**
   * Streams a blob. Broken connections are resumed. Content is provisional until the stream ends:
   * one whose digest or size is not the promised one ends in an error (DIGEST_MISMATCH), never in `end`.
   * @throws RegistryError BLOB_NOT_FOUND
   */
  openBlob(descriptor: Descriptor, options?: OperationOptions): Promise<Readable>;
  hasBlob(descriptor: Descriptor, options?: OperationOptions): Promise<boolean>;
  /**
   * Finds out whether something may be stored here, before much is read for it; stores nothing.
   * @throws RegistryError what storing would: UNAUTHORIZED, DENIED, NOT_FOUND
   */
  checkPush?(options?: OperationOptions): Promise<void>;
  /**
   * Stores a blob unless it is there. `open` gives its bytes from the start each time it is called:
   * it is called again when an upload has to start over. A chunk need not be valid any longer when the next is asked for.
   */
  putBlob(
    descriptor: Descriptor,
    open: () => AsyncIterable<Buffer>,
    options?: OperationOptions,
  ): Promise<BlobOutcome>;
  /** Brings a blob here from another repository: found, linked, or else streamed through, never stored on the way. */
  copyBlob(descriptor: Descriptor, from: ImageRepository, options?: OperationOptions): Promise<BlobOutcome>;
  /**
   * Stores a manifest under its digest, and with `tag` (then last of all) under the tag.
   * The registry's digest must be ours. @throws RegistryError DIGEST_MISMATCH
   */
  putManifest(
    manifest: RawManifest,
    options?: OperationOptions & { readonly tag?: string | undefined },
  ): Promise<void>;
  /** Deletes a manifest by digest. @throws RegistryError NOT_FOUND */
  deleteManifest(digest: Digest, options?: OperationOptions): Promise<void>;
  listTags(options?: OperationOptions): Promise<string[]>;
  /** Signatures, attestations and other manifests that refer to one; the first page of them. */
  listReferrers(digest: Digest, options?: OperationOptions): Promise<readonly Descriptor[]>;
  /** Releases connections. The repository must not be used afterwards. */
  close(): Promise<void>;
}

/** The tag under which something about a manifest is stored: cosign's `sha256-….sig`, and `sha256-…` for referrers. */
export function tagForDigest(digest: Digest, ending = ''): string {
  return `${digestAlgorithm(digest)}-${digestHex(digest)}${ending}`;
}

/** What refers to a manifest, by the tag of registries without an API for it (distribution-spec, "Referrers Tag Schema"). */
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

/** Bytes that are read ahead of the consumer. */
const highWaterMark = 1024 * 1024;

/** A stream that can be given away before it has been opened. */
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
