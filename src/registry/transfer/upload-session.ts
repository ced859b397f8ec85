import { discardBody } from '../http/response-body.ts';
import type { HttpResponse } from '../http/transport.ts';
import type { Digest } from '../model/digest.ts';
import {
  checkEmpty,
  checkStoredDigest,
  uploadLocation,
  blobContext,
  type Endpoint,
  endpointUrl,
  scopeOf,
  send,
} from './endpoint.ts';

/** The chunk size that registries are known to accept, in bytes (GitHub's refuses more than 4 MiB). */
const preferredChunkSize = 4 * 1024 * 1024;

/** The largest chunk size that a registry may require, in bytes: a chunk is held in memory. */
const maxChunkSize = 64 * 1024 * 1024;

/** An upload that a registry has opened (distribution-spec, "Pushing blobs"). */
export interface UploadSession {
  readonly location: URL;
  /** Bytes of each chunk except the last one. */
  readonly chunkSize: number;
}

/** The repository to mount a blob from. */
export interface MountSource {
  readonly repository: string;
}

/** The result of a mount request. */
export type MountResult = 'mounted' | UploadSession | 'refused';

/** Opens an upload. */
export async function openSession(
  endpoint: Endpoint,
  digest: Digest,
  signal: AbortSignal | undefined,
): Promise<UploadSession> {
  const response = await postUpload(endpoint, '', [], signal);
  await checkEmpty(response, [202], { ...blobContext(endpoint, digest, 'upload'), notFound: 'NOT_FOUND' });
  return sessionOf(response, endpoint);
}

/** Uploads that were opened before there were blobs for them. Disposing of it cancels those that were not taken. */
export class SpareSessions implements AsyncDisposable {
  readonly #endpoint: Endpoint;
  readonly #sessions: Promise<UploadSession | undefined>[];

  constructor(endpoint: Endpoint, sessions: Promise<UploadSession | undefined>[]) {
    this.#endpoint = endpoint;
    this.#sessions = sessions;
  }

  /** Returns an upload for a blob; undefined if there is none left. */
  async take(): Promise<UploadSession | undefined> {
    return this.#sessions.shift();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const left = this.#sessions.splice(0).map(async (opened) => {
      const session = await opened;
      if (session !== undefined) await cancelSession(this.#endpoint, session);
    });
    await Promise.all(left);
  }
}

/**
 * Checks for permission to push to a repository by opening an upload. That is for the first blob; another one is opened
 * for the second: an image that changes has at least a new layer and a new configuration.
 * @throws RegistryError UNAUTHORIZED, DENIED, NOT_FOUND, UNEXPECTED_RESPONSE
 */
export async function checkPush(endpoint: Endpoint, signal: AbortSignal | undefined): Promise<SpareSessions> {
  const first = await openForPush(endpoint, signal);
  // Whoever needs it opens one more if this fails.
  const second = openForPush(endpoint, signal).catch(() => undefined);
  return new SpareSessions(endpoint, [Promise.resolve(first), second]);
}

/**
 * Opens an upload for a blob that is not known yet.
 * @throws RegistryError UNAUTHORIZED, DENIED, NOT_FOUND, UNEXPECTED_RESPONSE
 */
export async function openForPush(
  endpoint: Endpoint,
  signal: AbortSignal | undefined,
): Promise<UploadSession> {
  const response = await postUpload(endpoint, '', [], signal);
  await checkEmpty(response, [202], {
    action: `push to ${endpoint.name}`,
    facts: { repository: endpoint.name },
  });
  return sessionOf(response, endpoint);
}

/**
 * Asks the registry to mount a blob from another of its repositories. A registry that cannot or must not do
 * so opens an upload instead, or refuses; neither is an error.
 */
export async function mountBlob(
  endpoint: Endpoint,
  digest: Digest,
  from: MountSource,
  signal: AbortSignal | undefined,
): Promise<MountResult> {
  const query = `?mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(from.repository)}`;
  const response = await postUpload(endpoint, query, [scopeOf(from.repository, 'pull')], signal);
  await discardBody(response);
  if (response.status === 202) return sessionOf(response, endpoint);
  if (response.status !== 201) return 'refused';
  checkStoredDigest(response, digest, endpoint);
  return 'mounted';
}

/** Cancels an upload, so that the registry can discard what it received. Errors are ignored. */
export async function cancelSession(endpoint: Endpoint, session: UploadSession): Promise<void> {
  try {
    const response = await send(endpoint, {
      method: 'DELETE',
      url: session.location,
      actions: 'pull,push',
      retriable: false,
      signal: AbortSignal.timeout(cancelTimeout),
    });
    await discardBody(response);
  } catch {
    // The registry discards the upload by itself in time.
  }
}

/** Milliseconds that cancelling may take. */
const cancelTimeout = 5000;

/** Returns the chunk size that a registry's response requires, within our bounds. */
function chunkSizeOf(response: HttpResponse): number {
  const required = Number(response.headers['oci-chunk-min-length'] ?? 0);
  if (!Number.isSafeInteger(required)) return preferredChunkSize;
  return Math.min(Math.max(required, preferredChunkSize), maxChunkSize);
}

function sessionOf(response: HttpResponse, endpoint: Endpoint): UploadSession {
  return { location: uploadLocation(response, endpoint), chunkSize: chunkSizeOf(response) };
}

function postUpload(
  endpoint: Endpoint,
  query: string,
  moreScopes: readonly string[],
  signal: AbortSignal | undefined,
): Promise<HttpResponse> {
  return send(endpoint, {
    method: 'POST',
    url: endpointUrl(endpoint, `blobs/uploads/${query}`),
    headers: { 'content-length': '0' },
    actions: 'pull,push',
    moreScopes,
    signal,
  });
}
