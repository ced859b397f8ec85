import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { Digest } from '../model/digest.ts';
import { type Exchange, methodNotAllowed, parseRange, sendEmpty } from './exchange.ts';
import { ProtocolError } from './protocol-error.ts';
import { isFileError, unlinkBlob } from './storage.ts';

/** Bytes read from disk at a time. */
const readSize = 256 * 1024;

/**
 * Handles requests for a blob: distribution-spec, "Pulling blobs", "Checking if content exists", "Deleting
 * Blobs".
 */
export async function handleBlob(
  exchange: Exchange,
  { repository, digest }: { readonly repository: string; readonly digest: Digest },
): Promise<void> {
  switch (exchange.method) {
    case 'GET':
    case 'HEAD':
      return sendBlob(exchange, exchange.layout.blobFile(repository, digest), digest);
    case 'DELETE':
      if (!(await unlinkBlob(exchange.layout, { repository, digest }))) throw blobUnknown();
      return sendEmpty(exchange.response, 202, { 'docker-content-digest': digest });
    default:
      throw methodNotAllowed('GET, HEAD, DELETE');
  }
}

async function sendBlob(
  { request, response, method }: Exchange,
  path: string,
  digest: Digest,
): Promise<void> {
  await using handle = await open(path).catch((error: unknown) => {
    throw isFileError(error, 'ENOENT') || isFileError(error, 'ENOTDIR') ? blobUnknown() : error;
  });
  const { size } = await handle.stat();
  const range = parseRange(request.headers.range, size);
  if (range === 'unsatisfiable') {
    throw new ProtocolError({
      status: 416,
      code: 'SIZE_INVALID',
      message: 'the range is outside the blob',
      headers: { 'content-range': `bytes */${size}` },
    });
  }
  const { start, end } = range ?? { start: 0, end: size - 1 };
  response.writeHead(range === undefined ? 200 : 206, {
    'content-type': 'application/octet-stream',
    'content-length': end - start + 1,
    'docker-content-digest': digest,
    'accept-ranges': 'bytes',
    etag: `"${digest}"`,
    ...(range === undefined ? {} : { 'content-range': `bytes ${start}-${end}/${size}` }),
  });
  if (method === 'HEAD' || size === 0) {
    response.end();
    return;
  }
  await pipeline(
    handle.createReadStream({ start, end, highWaterMark: readSize, autoClose: false }),
    response,
  );
}

function blobUnknown(): ProtocolError {
  return new ProtocolError({
    status: 404,
    code: 'BLOB_UNKNOWN',
    message: 'the blob is not in this repository',
  });
}
