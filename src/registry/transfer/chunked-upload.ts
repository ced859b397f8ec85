import { chunkPieces, type LentChunks } from '../../shared/chunks.ts';
import { discardBody } from '../http/response-body.ts';
import type { HttpResponse } from '../http/transport.ts';
import { RegistryError } from '../model/errors.ts';
import type { Descriptor } from '../model/manifest.ts';
import {
  checkEmpty,
  checkStoredDigest,
  uploadLocation,
  withDigest,
  blobContext,
  type Endpoint,
  send,
} from './endpoint.ts';
import { backOff, isTransient } from './retry.ts';
import type { UploadSession } from './upload-session.ts';

/** The most tries in a row in which the registry accepts no further byte. */
const maxFutileAttempts = 4;

/** What a chunked upload needs. */
export interface ChunkedUpload {
  readonly endpoint: Endpoint;
  readonly descriptor: Descriptor;
  readonly session: UploadSession;
  readonly content: LentChunks;
  readonly signal: AbortSignal | undefined;
}

/** The progress of an upload. */
interface Progress {
  readonly location: URL;
  /** Bytes received by the registry. */
  readonly offset: number;
  /** Why the last part failed. */
  readonly error?: unknown;
}

/**
 * Uploads a blob in chunks (distribution-spec, "Pushing a blob in chunks"). Each response must show that the
 * registry accepted the chunk: some drop all but the first one and report success.
 */
export async function uploadChunked(upload: ChunkedUpload): Promise<void> {
  const { endpoint, descriptor, session, content, signal } = upload;
  let progress: Progress = { location: session.location, offset: 0 };
  for await (const { bytes, release } of chunkPieces(content, Math.min(session.chunkSize, descriptor.size))) {
    progress = await sendChunk(upload, bytes, progress);
    release();
  }
  await commitUpload({ endpoint, descriptor, location: progress.location, signal });
}

/** An upload that the registry has received. */
export interface ReceivedUpload {
  readonly endpoint: Endpoint;
  readonly descriptor: Descriptor;
  readonly location: URL;
  readonly signal: AbortSignal | undefined;
}

/** Has the registry store what it has received under its digest, which must match ours. @throws RegistryError */
export async function commitUpload({
  endpoint,
  descriptor,
  location,
  signal,
}: ReceivedUpload): Promise<void> {
  const response = await send(endpoint, {
    method: 'PUT',
    url: withDigest(location, descriptor.digest),
    headers: { 'content-length': '0', 'content-type': 'application/octet-stream' },
    actions: 'pull,push',
    retriable: false,
    signal,
  });
  await checkEmpty(response, [201, 204], blobContext(endpoint, descriptor.digest, 'finish the upload of'));
  checkStoredDigest(response, descriptor.digest, endpoint);
}

/** Sends one chunk until the registry has all of it. */
async function sendChunk(upload: ChunkedUpload, chunk: Buffer, from: Progress): Promise<Progress> {
  const start = from.offset;
  const end = start + chunk.length;
  let progress = from;
  let futileAttempts = 0;
  while (progress.offset < end) {
    const next = await sendPart(upload, chunk.subarray(progress.offset - start), progress);
    if (next.offset < progress.offset || next.offset > end) throw lost(upload, next.offset, progress.offset);
    futileAttempts = next.offset > progress.offset ? 0 : futileAttempts + 1;
    if (futileAttempts >= maxFutileAttempts) throw next.error ?? lost(upload, next.offset, end);
    progress = next;
    if (futileAttempts > 0) await pause(upload, futileAttempts, next.error);
  }
  return progress;
}

function pause({ endpoint, signal }: ChunkedUpload, attempt: number, error: unknown): Promise<void> {
  return backOff({ attempt, delay: endpoint.retryDelay, signal, error, onRetry: endpoint.onRetry });
}

/** Sends one PATCH and, if it failed, queries the progress of the upload. */
async function sendPart(
  upload: ChunkedUpload,
  part: Buffer,
  { location, offset }: Progress,
): Promise<Progress> {
  const { endpoint, descriptor, signal } = upload;
  let failure: unknown;
  try {
    const response = await send(endpoint, {
      method: 'PATCH',
      url: location,
      headers: {
        'content-type': 'application/octet-stream',
        'content-length': String(part.length),
        // Unlike HTTP's Content-Range, the specification's has neither unit nor total.
        'content-range': `${offset}-${offset + part.length - 1}`,
      },
      body: part,
      actions: 'pull,push',
      retriable: false,
      signal,
    });
    endpoint.onBytesUp(part.length);
    if (response.status !== 416) {
      await checkEmpty(response, [202], blobContext(endpoint, descriptor.digest, 'upload a part of'));
      const expected = offset + part.length;
      const stated = expected === 1 ? expected : offsetOf(response);
      return { location: nextLocation(response, endpoint, location), offset: stated ?? expected };
    }
    await discardBody(response);
  } catch (error) {
    signal?.throwIfAborted();
    if (!isTransient(error)) throw error;
    failure = error;
  }
  return { ...(await queryProgress(upload, location)), error: failure };
}

async function queryProgress(
  { endpoint, descriptor, signal }: ChunkedUpload,
  location: URL,
): Promise<Progress> {
  const response = await send(endpoint, {
    method: 'GET',
    url: location,
    actions: 'pull,push',
    signal,
  });
  await checkEmpty(
    response,
    [204, 202, 200],
    blobContext(endpoint, descriptor.digest, 'continue the upload of'),
  );
  return { location: nextLocation(response, endpoint, location), offset: offsetOf(response) ?? 0 };
}

/** Returns where an upload continues, which a response need not say again. */
export function nextLocation(response: HttpResponse, endpoint: Endpoint, present: URL): URL {
  return response.headers['location'] === undefined ? present : uploadLocation(response, endpoint);
}

/**
 * Reads the progress from `Range: 0-N`, which means N + 1 bytes; registries also send `0-0` when they have
 * none.
 */
export function offsetOf(response: HttpResponse): number | undefined {
  const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(response.headers['range'] ?? '')?.[1];
  if (last === undefined) return undefined;
  return last === '0' ? 0 : Number(last) + 1;
}

/** The error for a registry that has not as many bytes as were sent. */
export function lost(
  { endpoint, descriptor }: Pick<ChunkedUpload, 'endpoint' | 'descriptor'>,
  has: number,
  sent: number,
): RegistryError {
  return new RegistryError({
    code: 'UNEXPECTED_RESPONSE',
    message: `${endpoint.name} reports ${has} bytes of the blob ${descriptor.digest} where ${sent} were sent`,
    hint: 'The registry loses parts of chunked uploads; raise the request size limit of the proxy in front of it, so that blobs are uploaded whole.',
    facts: { digest: descriptor.digest, repository: endpoint.name },
  });
}
