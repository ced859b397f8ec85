import type { Readable } from 'node:stream';
import type { LentChunks } from '../../shared/chunks.ts';
import { type Logger, silentLogger } from '../../shared/logger.ts';
import type { Digest } from '../model/digest.ts';
import type { Descriptor, Manifest, RawManifest } from '../model/manifest.ts';
import { parseManifest } from '../model/parse-manifest.ts';
import type { Selector } from '../model/reference.ts';
import { BegunUpload } from '../transfer/begun-upload.ts';
import { downloadBlob } from '../transfer/download.ts';
import type { Endpoint, RegistryConnection } from '../transfer/endpoint.ts';
import { deleteManifest, fetchManifest, pushManifest, resolveManifest } from '../transfer/manifests.ts';
import { logRetries } from '../transfer/retry.ts';
import { listTags, requestReferrers } from '../transfer/listings.ts';
import { checkPush, type SpareSessions } from '../transfer/upload-session.ts';
import { type BegunBlob, type BlobOutcome, hasBlob, uploadBlob } from '../transfer/upload.ts';
import {
  deferredStream,
  type ImageRepository,
  type OperationOptions,
  type PutBlobOptions,
  taggedReferrers,
  type Traffic,
} from './repository.ts';

/** Options for opening a repository of a registry. */
export interface RemoteRepositoryOptions {
  readonly connection: RegistryConnection;
  /** As in a reference: `registry.example:5000`. */
  readonly registry: string;
  /** `vendor/driver` */
  readonly repository: string;
  /** Milliseconds before the first retry of a transfer; doubled with each further one. @default 500 */
  readonly retryDelay?: number | undefined;
  /** Logs retries of transfers. @default silent */
  readonly logger?: Logger | undefined;
  /** Releases the connection if nothing else uses it. */
  readonly onClose?: (() => Promise<void>) | undefined;
}

/** A repository of a registry. */
export class RemoteRepository implements ImageRepository {
  readonly kind = 'remote';
  readonly name: string;
  readonly #endpoint: Endpoint;
  readonly #onClose: (() => Promise<void>) | undefined;
  #spare: SpareSessions | undefined;
  #begun: BegunUpload | undefined;
  #bytesDown = 0;
  #bytesUp = 0;

  constructor({
    connection,
    registry,
    repository,
    retryDelay = 500,
    logger = silentLogger,
    onClose,
  }: RemoteRepositoryOptions) {
    this.name = `${registry}/${repository}`;
    this.#onClose = onClose;
    this.#endpoint = {
      connection,
      repository,
      name: this.name,
      retryDelay,
      onRetry: logRetries(logger, this.name),
      onBytesDown: (count) => {
        this.#bytesDown += count;
      },
      onBytesUp: (count) => {
        this.#bytesUp += count;
      },
    };
  }

  get storage(): string {
    return this.#endpoint.connection.origin();
  }

  get traffic(): Traffic {
    return { bytesDown: this.#bytesDown, bytesUp: this.#bytesUp };
  }

  resolve(selector: Selector, { signal }: OperationOptions = {}): Promise<Descriptor> {
    return resolveManifest(this.#endpoint, selector, signal);
  }

  async getManifest(selector: Selector, { signal }: OperationOptions = {}): Promise<Manifest> {
    return parseManifest(await fetchManifest(this.#endpoint, selector, signal));
  }

  openBlob(descriptor: Descriptor, { signal }: OperationOptions = {}): Promise<Readable> {
    return downloadBlob(this.#endpoint, descriptor, signal);
  }

  hasBlob(descriptor: Descriptor, { signal }: OperationOptions = {}): Promise<boolean> {
    return hasBlob(this.#endpoint, descriptor, signal);
  }

  async checkPush({ signal }: OperationOptions = {}): Promise<AsyncDisposable> {
    this.#spare = await checkPush(this.#endpoint, signal);
    return this.#spare;
  }

  beginBlob(open: () => LentChunks, { signal }: OperationOptions = {}): BegunBlob | undefined {
    // What was refused once would be refused again.
    if (this.#begun?.hasFailed === true) return undefined;
    this.#begun = new BegunUpload({ endpoint: this.#endpoint, open, spare: this.#spare, signal });
    return this.#begun;
  }

  putBlob(
    descriptor: Descriptor,
    open: () => LentChunks,
    { begun, signal }: PutBlobOptions = {},
  ): Promise<BlobOutcome> {
    return uploadBlob({ endpoint: this.#endpoint, descriptor, open, spare: this.#spare, begun, signal });
  }

  copyBlob(
    descriptor: Descriptor,
    from: ImageRepository,
    { signal }: OperationOptions = {},
  ): Promise<BlobOutcome> {
    return uploadBlob({
      endpoint: this.#endpoint,
      descriptor,
      open: () => deferredStream(() => from.openBlob(descriptor, { signal })),
      mountFrom: this.#mountSource(from),
      signal,
    });
  }

  putManifest(
    manifest: RawManifest,
    { tag, signal }: OperationOptions & { readonly tag?: string | undefined } = {},
  ): Promise<void> {
    return pushManifest(this.#endpoint, manifest, tag, signal);
  }

  defaultSelector(): Promise<Selector> {
    return Promise.resolve({ tag: 'latest' });
  }

  deleteManifest(digest: Digest, { signal }: OperationOptions = {}): Promise<void> {
    return deleteManifest(this.#endpoint, digest, signal);
  }

  listTags({ signal }: OperationOptions = {}): Promise<string[]> {
    return listTags(this.#endpoint, signal);
  }

  async listReferrers(digest: Digest, options: OperationOptions = {}): Promise<readonly Descriptor[]> {
    const referrers = await requestReferrers(this.#endpoint, digest, options.signal);
    return referrers ?? taggedReferrers(this, digest, options);
  }

  async close(): Promise<void> {
    await this.#onClose?.();
  }

  #mountSource(from: ImageRepository): { readonly repository: string } | undefined {
    if (!(#endpoint in from) || from.storage !== this.storage || from.name === this.name) return undefined;
    return { repository: from.#endpoint.repository };
  }
}
