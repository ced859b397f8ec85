import type { Readable } from 'node:stream';
import { RegistryError } from '../model/errors.ts';
import type { HttpResponse } from '../http/transport.ts';
import type { Descriptor } from '../model/manifest.ts';
import { checkNotPage, checkStatus } from '../http/response-error.ts';
import { contentLength, blobContext, endpointUrl, send, type Endpoint } from './endpoint.ts';
import { BlobStream, digestMismatch, type BlobSource } from './blob-stream.ts';

/**
 * Downloads a blob. A broken connection is resumed with Range, by a request to the registry itself (the
 * signed URL of an earlier redirect may have expired).
 * @throws RegistryError BLOB_NOT_FOUND, DIGEST_MISMATCH
 */
export function downloadBlob(
  endpoint: Endpoint,
  descriptor: Descriptor,
  signal: AbortSignal | undefined,
): Promise<Readable> {
  return BlobStream.open({
    descriptor,
    place: endpoint.name,
    open: (start, closed) => openAt(endpoint, descriptor, start, closed),
    onBytes: endpoint.onBytesDown,
    retryDelay: endpoint.retryDelay,
    onRetry: endpoint.onRetry,
    signal,
  });
}

async function openAt(
  endpoint: Endpoint,
  descriptor: Descriptor,
  start: number,
  signal: AbortSignal,
): Promise<BlobSource> {
  const response = await send(endpoint, {
    method: 'GET',
    url: endpointUrl(endpoint, `blobs/${descriptor.digest}`),
    headers: start === 0 ? {} : { range: `bytes=${start}-` },
    actions: 'pull',
    signal,
  });
  const statuses = start === 0 ? [200] : [200, 206];
  await checkStatus(response, statuses, blobContext(endpoint, descriptor.digest, 'read'));
  if (contentLength(response) !== descriptor.size && response.status === 200)
    checkNotPage(response, blobContext(endpoint, descriptor.digest, 'read'));
  const problem = problemOf(response, descriptor, start);
  if (problem !== undefined) {
    response.body.destroy();
    throw problem === wrongRange
      ? unexpected(endpoint, descriptor)
      : digestMismatch(descriptor, endpoint.name, problem);
  }
  return { body: response.body, start: response.status === 206 ? start : 0 };
}

const wrongRange = Symbol('another range than the one that was asked for');

function problemOf(
  response: HttpResponse,
  { size }: Descriptor,
  start: number,
): string | typeof wrongRange | undefined {
  const length = contentLength(response);
  if (response.status === 206) {
    return isRequestedRange(response.headers['content-range'], start, size) ? undefined : wrongRange;
  }
  if (length === undefined || length === size) return undefined;
  return `has ${length} bytes instead of the ${size} its descriptor promises`;
}

function isRequestedRange(header: string | undefined, start: number, size: number): boolean {
  return header === `bytes ${start}-${size - 1}/${size}` || header === `bytes ${start}-${size - 1}/*`;
}

function unexpected(endpoint: Endpoint, { digest }: Descriptor): RegistryError {
  return new RegistryError({
    code: 'UNEXPECTED_RESPONSE',
    message: `${endpoint.name} resumed the blob ${digest} at a position other than the requested one`,
    hint: 'The registry or a proxy in front of it does not support Range requests.',
    facts: { digest, repository: endpoint.name },
  });
}
