import { ignoreRejection } from '../../shared/abortable.ts';
import type { LentChunk, LentChunks } from '../../shared/chunks.ts';
import type { Descriptor } from '../model/manifest.ts';
import { commitUpload, lost, nextLocation, offsetOf } from './chunked-upload.ts';
import { checkEmpty, type Endpoint, send } from './endpoint.ts';
import type { BegunBlob } from './upload.ts';
import { cancelSession, openForPush, type SpareSessions, type UploadSession } from './upload-session.ts';

/** What a begun upload needs. */
export interface BegunUploadOptions {
  readonly endpoint: Endpoint;
  /** Yields the bytes from the start on each call, as they come to be. */
  readonly open: () => LentChunks;
  /** Uploads that were opened earlier, to use instead of others. */
  readonly spare: SpareSessions | undefined;
  readonly signal: AbortSignal | undefined;
}

/** What a registry has received. */
interface Received {
  readonly session: UploadSession;
  /** Bytes, if the registry says so. */
  readonly size: number | undefined;
}

/**
 * An upload of a blob that is still being made: its bytes are sent as they come, in one request without a length, as
 * Docker sends layers. Disposing of it cancels it, unless it is finished. Where a registry refuses it, the blob has
 * to be uploaded in another way once it is complete.
 */
export class BegunUpload implements BegunBlob {
  readonly #endpoint: Endpoint;
  readonly #stop = new AbortController();
  readonly #received: Promise<Received>;
  #session: UploadSession | undefined;
  #hasFailed = false;
  #hasEnded = false;

  constructor({ endpoint, open, spare, signal }: BegunUploadOptions) {
    this.#endpoint = endpoint;
    this.#received = this.#send(open, spare, signal);
    // Awaited when the blob is complete; until then, a rejection must not be reported as unhandled.
    ignoreRejection(this.#received);
  }

  /** Whether the registry, or something in front of it, refused the upload. */
  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  async finish(descriptor: Descriptor, signal: AbortSignal | undefined): Promise<void> {
    const { session, size } = await this.#received;
    const endpoint = this.#endpoint;
    if (size !== undefined && size !== descriptor.size) {
      throw lost({ endpoint, descriptor }, size, descriptor.size);
    }
    await commitUpload({ endpoint, descriptor, location: session.location, signal });
    this.#hasEnded = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#stop.abort();
    await Promise.allSettled([this.#received]);
    if (this.#session !== undefined) await cancelSession(this.#endpoint, this.#session);
  }

  async #send(
    open: () => LentChunks,
    spare: SpareSessions | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Received> {
    const endpoint = this.#endpoint;
    const stopped = this.#stop.signal;
    const either = signal === undefined ? stopped : AbortSignal.any([signal, stopped]);
    try {
      // Not stopped, since an upload whose place is not known yet could not be cancelled.
      const session = (await spare?.take()) ?? (await openForPush(endpoint, signal));
      this.#session = session;
      const response = await send(endpoint, {
        method: 'PATCH',
        url: session.location,
        headers: { 'content-type': 'application/octet-stream' },
        body: () => counted(open(), endpoint.onBytesUp),
        actions: 'pull,push',
        retriable: false,
        signal: either,
      });
      await checkEmpty(response, [202], {
        action: `upload a blob to ${endpoint.name}`,
        facts: { repository: endpoint.name },
      });
      this.#session = { ...session, location: nextLocation(response, endpoint, session.location) };
      return { session: this.#session, size: offsetOf(response) };
    } catch (error) {
      this.#hasFailed = !either.aborted;
      throw error;
    }
  }
}

async function* counted(source: LentChunks, onBytes: (count: number) => void): AsyncGenerator<LentChunk> {
  for await (const chunk of source) {
    onBytes(chunk.length);
    yield chunk;
  }
}
