import { createHash } from 'node:crypto';
import { digestAlgorithm, digestHex, digestOf, type Digest } from '../model/digest.ts';
import { RegistryError } from '../model/errors.ts';
import { discardBody } from '../http/response-body.ts';
import { checkNotPage, checkStatus, responseError, type ResponseContext } from '../http/response-error.ts';
import type { HttpResponse } from '../http/transport.ts';
import type { Selector } from '../model/reference.ts';
import type { Descriptor, RawManifest } from '../model/manifest.ts';
import { maxManifestSize } from '../model/json.ts';
import { parseManifest } from '../model/parse-manifest.ts';
import {
  isImageManifestType,
  isIndexType,
  manifestAccept,
  normalizeMediaType,
} from '../model/media-types.ts';
import {
  checkEmpty,
  checkStoredDigest,
  contentLength,
  readBody,
  statedDigest,
  endpointUrl,
  send,
  type Actions,
  type Endpoint,
} from './endpoint.ts';
import { withAttempts } from './retry.ts';

/** Statuses of registries that do not support HEAD for manifests. */
const headRefused: ReadonlySet<number> = new Set([400, 405, 501]);

/**
 * Resolves a tag or digest to a descriptor, by HEAD; by GET if the response to HEAD is incomplete.
 * @throws RegistryError NOT_FOUND only if the registry responds with 404
 */
export async function resolveManifest(
  endpoint: Endpoint,
  selector: Selector,
  signal: AbortSignal | undefined,
): Promise<Descriptor> {
  const head = await headManifest(endpoint, selector, 'pull', signal);
  if (head !== undefined) return head;
  const { raw } = parseManifest(await fetchManifest(endpoint, selector, signal));
  return { mediaType: raw.mediaType, digest: raw.digest, size: raw.bytes.length };
}

/** Fetches a manifest. Its digest is computed over the bytes, and compared if one was requested. */
export async function fetchManifest(
  endpoint: Endpoint,
  selector: Selector,
  signal: AbortSignal | undefined,
): Promise<RawManifest> {
  const response = await requestManifest(endpoint, 'GET', selector, 'pull', signal);
  const context = contextOf(endpoint, selector, 'read');
  await checkStatus(response, [200], context);
  checkNotPage(response, context);
  const bytes = await readBody(response, maxManifestSize, context);
  endpoint.onBytesDown(bytes.length);
  return {
    mediaType: normalizeMediaType(response.headers['content-type']),
    digest: 'digest' in selector ? verifyDigest(endpoint, selector.digest, bytes) : digestOf(bytes),
    bytes,
  };
}

/** The most attempts to push a manifest whose blobs the registry does not find. */
const maxAttempts = 5;

/** The codes with which a registry says that it does not find a blob of a manifest. */
const missingBlob: ReadonlySet<unknown> = new Set(['MANIFEST_BLOB_UNKNOWN', 'BLOB_UNKNOWN']);

/**
 * Pushes a manifest under a tag, or else under its digest. Where the registry does not find blobs, this is tried again:
 * some do not see for a while what was just stored, and distribution 2.8 loses sight of a blob whenever somebody stores it
 * once more.
 * @throws RegistryError IMMUTABLE_TAG
 */
export async function pushManifest(
  endpoint: Endpoint,
  manifest: RawManifest,
  tag: string | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { retryDelay: delay, onRetry } = endpoint;
  await withAttempts(() => putManifest(endpoint, manifest, tag, signal), {
    most: maxAttempts,
    delay,
    signal,
    onRetry,
    shouldRetry: isForMissingBlob,
  });
}

function isForMissingBlob(error: unknown): boolean {
  const codes: unknown = error instanceof RegistryError ? error.facts['registryCodes'] : undefined;
  return Array.isArray(codes) && codes.some((code) => missingBlob.has(code));
}

/**
 * Pushes a manifest once. A registry with immutable tags refuses also a manifest that the tag already names; that counts
 * as pushed.
 */
async function putManifest(
  endpoint: Endpoint,
  { mediaType, digest, bytes }: RawManifest,
  tag: string | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const selector = tag === undefined ? { digest } : { tag };
  const response = await send(endpoint, {
    method: 'PUT',
    url: manifestUrl(endpoint, selector),
    headers: { 'content-type': mediaType },
    body: bytes,
    actions: 'pull,push',
    signal,
  });
  endpoint.onBytesUp(bytes.length);
  const context = contextOf(endpoint, selector, 'store');
  if (response.status >= 400) {
    const refusal = await responseError(response, context);
    const existing = await existingDigest(endpoint, selector, signal);
    if (existing === digest) return;
    throw existing === undefined || tag === undefined ? refusal : refusalToMove(refusal, response);
  }
  await checkEmpty(response, [201, 200, 202], context);
  checkStoredDigest(response, digest, endpoint);
}

/** Deletes a manifest by digest. @throws RegistryError NOT_FOUND */
export async function deleteManifest(
  endpoint: Endpoint,
  digest: Digest,
  signal: AbortSignal | undefined,
): Promise<void> {
  const selector = { digest };
  const response = await send(endpoint, {
    method: 'DELETE',
    url: manifestUrl(endpoint, selector),
    actions: 'delete',
    signal,
  });
  await checkEmpty(response, [202, 200, 204], contextOf(endpoint, selector, 'delete'));
}

/** Returns the digest of what is stored there now; undefined if nothing is, or the registry does not tell. */
async function existingDigest(
  endpoint: Endpoint,
  selector: Selector,
  signal: AbortSignal | undefined,
): Promise<Digest | undefined> {
  try {
    return (await headManifest(endpoint, selector, 'pull,push', signal))?.digest;
  } catch (error) {
    if (error instanceof RegistryError) return undefined;
    throw error;
  }
}

/** How registries refuse to move a tag: ECR and Artifact Registry (400), Quay (409), Harbor (412). */
const immutableStatuses: ReadonlySet<number> = new Set([400, 409, 412]);

/** Returns the error for a refused tag that exists with other content. */
function refusalToMove(refusal: RegistryError, { status }: HttpResponse): RegistryError {
  const { message, facts } = refusal;
  // A malformed manifest also gets 400.
  const isOther = status === 400 && !/immutab|TAG_INVALID|overwrit|already exists/i.test(message);
  if (isOther || !immutableStatuses.has(status)) return refusal;
  return new RegistryError({
    code: 'IMMUTABLE_TAG',
    message: `${message}; the tag exists with different content and the registry does not allow it to be moved`,
    hint: 'Choose another tag, or allow tags of this repository to be overwritten.',
    facts,
  });
}

/** Returns the descriptor from a HEAD request; undefined if the response is incomplete. */
async function headManifest(
  endpoint: Endpoint,
  selector: Selector,
  actions: Actions,
  signal: AbortSignal | undefined,
): Promise<Descriptor | undefined> {
  const response = await requestManifest(endpoint, 'HEAD', selector, actions, signal);
  if (headRefused.has(response.status)) {
    await discardBody(response);
    return undefined;
  }
  await checkEmpty(response, [200], contextOf(endpoint, selector, 'find'));
  const mediaType = normalizeMediaType(response.headers['content-type']);
  const size = contentLength(response);
  const digest = statedDigest(response);
  if (digest === undefined || size === undefined) return undefined;
  if (!isImageManifestType(mediaType) && !isIndexType(mediaType)) return undefined;
  if ('digest' in selector && selector.digest !== digest) return undefined;
  return { mediaType, digest, size };
}

function requestManifest(
  endpoint: Endpoint,
  method: 'GET' | 'HEAD',
  selector: Selector,
  actions: Actions,
  signal: AbortSignal | undefined,
): Promise<HttpResponse> {
  const headers = { accept: manifestAccept };
  return send(endpoint, { method, url: manifestUrl(endpoint, selector), headers, actions, signal });
}

function manifestUrl(endpoint: Endpoint, selector: Selector): URL {
  return endpointUrl(endpoint, `manifests/${'digest' in selector ? selector.digest : selector.tag}`);
}

function contextOf({ name }: Endpoint, selector: Selector, verb: string): ResponseContext {
  return {
    action: `${verb} the manifest ${'digest' in selector ? `${name}@${selector.digest}` : `${name}:${selector.tag}`}`,
    facts: { repository: name, ...selector },
  };
}

function verifyDigest({ name }: Endpoint, digest: Digest, bytes: Buffer): Digest {
  if (createHash(digestAlgorithm(digest)).update(bytes).digest('hex') === digestHex(digest)) return digest;
  throw new RegistryError({
    code: 'DIGEST_MISMATCH',
    message: `${name} returned a manifest that does not match its digest ${digest}`,
    hint: 'The stored image is damaged or was tampered with; push it again from its source.',
    facts: { repository: name, digest },
  });
}
