import { open } from 'node:fs/promises';
import type { Digest } from '../model/digest.ts';
import {
  type Exchange,
  methodNotAllowed,
  parseRange,
  sendEmpty,
  ProtocolError,
  parseChunkRange,
} from './exchange.ts';
import { sendFile } from './send-file.ts';
import { checkDigest, checkName, uploadUnknown } from './route.ts';
import { isFileError, unlinkBlob, commitBlob, linkBlob } from './storage.ts';
import type { UploadSession } from './upload-session.ts';

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
  await sendFile(handle, { start, end }, response);
}

function blobUnknown(): ProtocolError {
  return new ProtocolError({
    status: 404,
    code: 'BLOB_UNKNOWN',
    message: 'the blob is not in this repository',
  });
}

/** Handles POST on uploads: a mount, a monolithic upload in one request, or a new session. */
export async function handleUploads(exchange: Exchange, repository: string): Promise<void> {
  const { response, query, layout, sessions } = exchange;
  if (exchange.method !== 'POST') throw methodNotAllowed('POST');
  const mount = query.get('mount');
  if (mount !== null) {
    const digest = checkDigest(mount);
    const from = query.get('from');
    if (from !== null) checkName(from);
    // Every client may read every repository, so where the blob comes from does not matter.
    if (await linkBlob(layout, { repository, digest })) return sendCreated(exchange, repository, digest);
  }
  const digest = query.get('digest');
  const expected = digest === null ? undefined : checkDigest(digest);
  const session = sessions.start(repository);
  if (expected !== undefined) {
    return session.exclusively(async () => {
      try {
        await finish(exchange, session, expected);
      } catch (error) {
        // The client never learns of the session, so nobody could resume it.
        await sessions.cancel(session);
        throw error;
      }
    });
  }
  return sendEmpty(response, 202, progressHeaders(session));
}

/** Handles requests on an upload session: PATCH a chunk, PUT the end, GET the progress, DELETE. */
export async function handleUpload(
  exchange: Exchange,
  { repository, session: id }: { readonly repository: string; readonly session: string },
): Promise<void> {
  const { response, query, sessions } = exchange;
  const session = sessions.find(repository, id);
  if (session === undefined) throw uploadUnknown();
  await session.exclusively(async () => {
    if (sessions.find(repository, id) === undefined) throw uploadUnknown();
    switch (exchange.method) {
      case 'GET':
        return sendEmpty(response, 204, progressHeaders(session));
      case 'PATCH':
        await receive(exchange, session);
        return sendEmpty(response, 202, progressHeaders(session));
      case 'PUT':
        return finish(exchange, session, checkDigest(query.get('digest') ?? ''));
      case 'DELETE':
        await sessions.cancel(session);
        return sendEmpty(response, 204);
      default:
        throw methodNotAllowed('GET, PATCH, PUT, DELETE');
    }
  });
}

/** Receives a request's body, at the position stated by its Content-Range. */
async function receive({ request, sessions }: Exchange, session: UploadSession): Promise<void> {
  const header = request.headers['content-range'];
  const start = session.size;
  const range = header === undefined ? undefined : parseChunkRange(header);
  if (header !== undefined && range === undefined) {
    throw new ProtocolError({
      status: 400,
      code: 'BLOB_UPLOAD_INVALID',
      message: 'Content-Range must be start-end',
    });
  }
  if (range !== undefined && range.start !== start) {
    throw new ProtocolError({
      status: 416,
      code: 'BLOB_UPLOAD_INVALID',
      message: `the next chunk begins at ${start}`,
      headers: progressHeaders(session),
    });
  }
  const length = request.headers['content-length'];
  const promised = range === undefined ? undefined : range.end - range.start + 1;
  if (promised !== undefined && length !== undefined && Number(length) !== promised) {
    throw new ProtocolError({
      status: 400,
      code: 'SIZE_INVALID',
      message: 'Content-Range and Content-Length differ',
    });
  }
  try {
    await session.append(request);
  } catch (error) {
    if (session.isBroken) await sessions.cancel(session);
    throw error;
  }
  if (promised !== undefined && session.size !== start + promised) {
    throw new ProtocolError({
      status: 400,
      code: 'SIZE_INVALID',
      message: 'the length of the chunk is not that of its Content-Range',
    });
  }
}

/** Finishes an upload with the rest in the request's body. A wrong digest ends it, too. */
async function finish(exchange: Exchange, session: UploadSession, digest: Digest): Promise<void> {
  const { layout, sessions } = exchange;
  await receive(exchange, session);
  sessions.remove(session);
  try {
    if (!(await session.finish(digest))) {
      throw new ProtocolError({
        status: 400,
        code: 'DIGEST_INVALID',
        message: 'the bytes have another digest',
      });
    }
    await commitBlob(layout, { upload: session.file, repository: session.repository, digest });
  } catch (error) {
    await session.cancel();
    throw error;
  }
  sendCreated(exchange, session.repository, digest);
}

function sendCreated({ response }: Exchange, repository: string, digest: Digest): void {
  sendEmpty(response, 201, {
    location: `/v2/${repository}/blobs/${digest}`,
    'docker-content-digest': digest,
  });
}

function progressHeaders(session: UploadSession): Record<string, string> {
  return {
    location: `/v2/${session.repository}/blobs/uploads/${session.id}`,
    range: `0-${Math.max(session.size - 1, 0)}`,
    'docker-upload-uuid': session.id,
  };
}
