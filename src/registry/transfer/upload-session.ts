import { discardBody } from '../http/response-body.ts';
import type { HttpResponse } from '../http/transport.ts';
import type { Digest } from '../model/digest.ts';
import { checkEmpty, checkStoredDigest, uploadLocation } from './response.ts';
import { blobContext, type Endpoint, endpointUrl, scopeOf, send } from './endpoint.ts';

/** Bytes of a chunk that registries are known to accept (GitHub's refuses more than 4 MiB). */
const preferredChunkSize = 4 * 1024 * 1024;

/** Bytes of the largest chunk that a registry may ask for: one chunk is held in memory. */
const maxChunkSize = 64 * 1024 * 1024;

/** An upload that a registry has opened (distribution-spec, "Pushing blobs"). */
export interface UploadSession {
  readonly location: URL;
  /** Bytes of a chunk, all but the last one. */
  readonly chunkSize: number;
}

/** Where a blob may be linked from. */
export interface MountSource {
  readonly repository: string;
}

/** What asking for a link led to. */
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

/**
 * Finds out whether this may push to a repository, by opening an upload that is cancelled at once.
 * @throws RegistryError UNAUTHORIZED, DENIED, NOT_FOUND, UNEXPECTED_RESPONSE
 */
export async function checkPush(endpoint: Endpoint, signal: AbortSignal | undefined): Promise<void> {
  const response = await postUpload(endpoint, '', [], signal);
  await checkEmpty(response, [202], {
    action: `push to ${endpoint.name}`,
    facts: { repository: endpoint.name },
  });
  await cancelSession(endpoint, sessionOf(response, endpoint));
}

/**
 * Asks the registry to link a blob from another of its repositories. A registry that cannot, or may not,
 * opens an upload instead, or refuses; neither is an error.
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

/** Cancels an upload, so that the registry need not keep what it got. Errors are ignored. */
export async function cancelSession(endpoint: Endpoint, session: UploadSession): Promise<void> {
  try {
    const response = await send(endpoint, {
      method: 'DELETE',
      url: session.location,
      actions: 'pull,push',
      retriable: false,
      signal: AbortSignal.timeout(cancelPatience),
    });
    await discardBody(response);
  } catch {
    // The registry forgets the upload by itself in time.
  }
}

/** Milliseconds that giving up may take. */
const cancelPatience = 5000;

/** The chunk size that a registry's response asks for. */
function chunkSizeOf(response: HttpResponse): number {
  const asked = Number(response.headers['oci-chunk-min-length'] ?? 0);
  if (!Number.isSafeInteger(asked)) return preferredChunkSize;
  return Math.min(Math.max(asked, preferredChunkSize), maxChunkSize);
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
