import type { LentChunks } from '../../shared/chunks.ts';
import { checkNotPage } from '../http/response-error.ts';
import { RegistryError } from '../model/errors.ts';
import type { Descriptor } from '../model/manifest.ts';
import {
  checkEmpty,
  checkStoredDigest,
  contentLength,
  withDigest,
  type Actions,
  blobContext,
  type Endpoint,
  endpointUrl,
  send,
} from './endpoint.ts';
import { uploadChunked } from './chunked-upload.ts';
import { isTransient, withAttempts } from './retry.ts';
import { UploadContent } from './upload-content.ts';
import {
  cancelSession,
  mountBlob,
  type MountResult,
  type MountSource,
  openSession,
  type SpareSessions,
  type UploadSession,
} from './upload-session.ts';

/** How a blob got into the destination. */
export type BlobOutcome =
  /** It already existed. */
  | 'exists'
  /** The registry mounted it from another of its repositories. */
  | 'mounted'
  /** Its bytes were sent. */
  | 'uploaded';

/** The most attempts of a whole upload. */
const maxAttempts = 4;

/** Bytes of a blob that is sent without asking whether it exists: a request takes as long. */
const smallBlob = 64 * 1024;

/** Statuses with which registries and proxies refuse a monolithic upload; chunks may get through. */
const monolithicRefused: ReadonlySet<unknown> = new Set([400, 405, 411, 413, 415, 416, 501]);

/** A blob that is being stored while it is still being made. Disposing of it undoes that, unless it is finished. */
export interface BegunBlob extends AsyncDisposable {
  /** Waits until everything has been sent, and stores it. @throws RegistryError */
  finish(descriptor: Descriptor, signal: AbortSignal | undefined): Promise<void>;
}

/** What to upload. */
export interface BlobUpload {
  readonly endpoint: Endpoint;
  readonly descriptor: Descriptor;
  /** Returns the bytes from the start on each call. */
  readonly open: () => LentChunks;
  readonly mountFrom?: MountSource | undefined;
  /** Uploads that were opened earlier, to use instead of others. */
  readonly spare?: SpareSessions | undefined;
  /** An upload of the same bytes that was begun before their digest was known. */
  readonly begun?: BegunBlob | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Tells whether a repository contains a blob. @throws RegistryError for any status other than 200 and 404 */
export async function hasBlob(
  endpoint: Endpoint,
  descriptor: Descriptor,
  signal: AbortSignal | undefined,
  actions: Actions = 'pull',
): Promise<boolean> {
  const response = await send(endpoint, {
    method: 'HEAD',
    url: endpointUrl(endpoint, `blobs/${descriptor.digest}`),
    actions,
    signal,
  });
  const context = blobContext(endpoint, descriptor.digest, 'look for');
  await checkEmpty(response, [200, 404], context);
  if (response.status === 404) return false;
  const length = contentLength(response);
  if (length === undefined) checkNotPage(response, context);
  return length === undefined || length === descriptor.size;
}

/**
 * Gets a blob into a repository: it already exists, is mounted, or is uploaded in one piece or else in
 * chunks. Transient failures are retried from the start.
 */
export async function uploadBlob(upload: BlobUpload): Promise<BlobOutcome> {
  const { endpoint, signal } = upload;
  const outcome = await finishBegun(upload);
  if (outcome !== undefined) return outcome;
  const attempts = new UploadAttempts(upload);
  return withAttempts(() => attempts.run(), {
    most: maxAttempts,
    delay: endpoint.retryDelay,
    signal,
    onRetry: endpoint.onRetry,
    shouldRetry: (error) => attempts.shouldRetry(error),
  });
}

/** Finishes an upload that was begun, unless the blob exists; undefined if it has to be uploaded in another way. */
async function finishBegun({
  endpoint,
  descriptor,
  begun,
  signal,
}: BlobUpload): Promise<BlobOutcome | undefined> {
  if (begun === undefined) return undefined;
  try {
    if (await hasBlob(endpoint, descriptor, signal, 'pull,push')) return 'exists';
    await begun.finish(descriptor, signal);
    return 'uploaded';
  } catch (error) {
    signal?.throwIfAborted();
    endpoint.onRetry(error, 0);
    return undefined;
  } finally {
    await begun[Symbol.asyncDispose]();
  }
}

/** The attempts of one upload, and what one teaches the next. */
class UploadAttempts {
  readonly #upload: BlobUpload;
  #mountFrom: MountSource | undefined;
  #chunked = false;
  #brokenConnections = 0;
  #contentFailed = false;
  /** Whether the latest attempt used the spare upload. */
  #usedSpare = false;

  constructor(upload: BlobUpload) {
    this.#upload = upload;
    this.#mountFrom = upload.mountFrom;
  }

  async run(): Promise<BlobOutcome> {
    const session = await this.#open();
    if (session === 'mounted' || session === 'exists') return session;
    const { endpoint, descriptor, open, signal } = this.#upload;
    const content = new UploadContent(descriptor, open, endpoint.onBytesUp);
    try {
      if (this.#chunked) {
        await uploadChunked({ endpoint, descriptor, session, content: content.bytes(), signal });
      } else {
        await uploadMonolithic(this.#upload, session, content);
      }
      return 'uploaded';
    } catch (error) {
      await cancelSession(endpoint, session);
      this.#contentFailed = content.error !== undefined;
      throw content.error ?? error;
    } finally {
      content.close();
    }
  }

  /** Learns from a failure; tells whether to retry. */
  shouldRetry(error: unknown): boolean {
    if (this.#contentFailed) return false;
    if (isTransient(error)) {
      this.#brokenConnections += 1;
      // A proxy that limits the size of requests may just close the connection.
      if (this.#brokenConnections > 1) this.#chunked = true;
      return true;
    }
    if (!(error instanceof RegistryError)) return false;
    // The registry no longer knows an upload that was opened long ago.
    if (this.#usedSpare && error.facts['status'] === 404) return true;
    if (this.#chunked) return false;
    this.#chunked = monolithicRefused.has(error.facts['status']);
    return this.#chunked;
  }

  /** Mounts the blob if that is possible; otherwise opens an upload, unless the blob exists. */
  async #open(): Promise<UploadSession | 'mounted' | 'exists'> {
    const { endpoint, descriptor, signal } = this.#upload;
    const mounting = await this.#mount();
    if (mounting === 'mounted') return mounting;
    if (descriptor.size > smallBlob && (await hasBlob(endpoint, descriptor, signal, 'pull,push'))) {
      if (mounting !== 'refused') await cancelSession(endpoint, mounting);
      return 'exists';
    }
    if (mounting !== 'refused') return mounting;
    const spare = await this.#upload.spare?.take();
    this.#usedSpare = spare !== undefined;
    return spare ?? openSession(endpoint, descriptor.digest, signal);
  }

  /** Asks for a mount, in the first attempt. */
  async #mount(): Promise<MountResult> {
    const { endpoint, descriptor, signal } = this.#upload;
    const from = this.#mountFrom;
    this.#mountFrom = undefined;
    return from === undefined ? 'refused' : mountBlob(endpoint, descriptor.digest, from, signal);
  }
}

async function uploadMonolithic(
  upload: BlobUpload,
  session: UploadSession,
  content: UploadContent,
): Promise<void> {
  const { endpoint, descriptor, signal } = upload;
  const response = await send(endpoint, {
    method: 'PUT',
    url: withDigest(session.location, descriptor.digest),
    headers: { 'content-type': 'application/octet-stream' },
    body: () => content.stream(),
    contentLength: descriptor.size,
    actions: 'pull,push',
    retriable: false,
    signal,
  });
  await checkEmpty(response, [201, 200, 204], blobContext(endpoint, descriptor.digest, 'upload'));
  checkStoredDigest(response, descriptor.digest, endpoint);
}
