import { createHash } from 'node:crypto';
import { digestAlgorithm, digestHex, digestOf, isDigest, type Digest } from '../model/digest.ts';
import { methodNotAllowed, sendBytes, sendEmpty, type Exchange, ProtocolError } from './exchange.ts';
import {
  optionalReferences,
  parseDocument,
  requiredBlobs,
  type DocumentDescriptor,
  type ManifestDocument,
} from './manifest-document.ts';
import { isTag } from './route.ts';
import { fileSize } from './storage.ts';

/** The largest manifest, in bytes; the specification requires at least 4 MiB. */
const maxManifestSize = 8 * 1024 * 1024;

interface ManifestRoute {
  readonly repository: string;
  readonly reference: string;
}

/** Handles requests for a manifest by tag or digest. */
export async function handleManifest(exchange: Exchange, route: ManifestRoute): Promise<void> {
  switch (exchange.method) {
    case 'GET':
    case 'HEAD':
      return sendManifest(exchange, route);
    case 'PUT':
      return storeManifest(exchange, route);
    case 'DELETE':
      return deleteManifest(exchange, route);
    default:
      throw methodNotAllowed('GET, HEAD, PUT, DELETE');
  }
}

async function sendManifest(exchange: Exchange, { repository, reference }: ManifestRoute): Promise<void> {
  const { manifests } = exchange;
  const digest = isDigest(reference) ? reference : await resolveTag(exchange, { repository, reference });
  const stored = digest === undefined ? undefined : await manifests.read(repository, digest);
  if (digest === undefined || stored === undefined) throw manifestUnknown();
  sendBytes(exchange, {
    bytes: stored.bytes,
    headers: { 'content-type': stored.mediaType, 'docker-content-digest': digest, etag: `"${digest}"` },
  });
}

async function resolveTag(
  exchange: Exchange,
  { repository, reference }: ManifestRoute,
): Promise<Digest | undefined> {
  return isTag(reference) ? exchange.manifests.resolveTag(repository, reference) : undefined;
}

async function storeManifest(exchange: Exchange, { repository, reference }: ManifestRoute): Promise<void> {
  const { request, response, manifests } = exchange;
  if (!isDigest(reference) && !isTag(reference)) {
    throw new ProtocolError({ status: 400, code: 'MANIFEST_INVALID', message: 'the tag is not well formed' });
  }
  const bytes = await readManifest(exchange);
  const digest = isDigest(reference) ? checkBytes(bytes, reference) : digestOf(bytes);
  const { mediaType, document } = parseDocument(bytes, request.headers['content-type']);
  await checkReferences(exchange, repository, document);
  await manifests.write(repository, digest, { mediaType, bytes });
  const subject = document.subject?.digest;
  if (subject !== undefined) await manifests.addReferrer(repository, subject, digest);
  if (!isDigest(reference)) await manifests.writeTag(repository, reference, digest);
  sendEmpty(response, 201, {
    location: `/v2/${repository}/manifests/${digest}`,
    'docker-content-digest': digest,
    ...(subject === undefined ? {} : { 'oci-subject': subject }),
  });
}

async function readManifest({ request }: Exchange): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  // The excess is left unread, so that the response still gets through.
  const body: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false });
  for await (const chunk of body) {
    size += chunk.length;
    if (size > maxManifestSize) {
      throw new ProtocolError({
        status: 413,
        code: 'SIZE_INVALID',
        message: `a manifest may have at most ${maxManifestSize} bytes`,
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function checkBytes(bytes: Buffer, digest: Digest): Digest {
  const actual = createHash(digestAlgorithm(digest)).update(bytes).digest('hex');
  if (actual !== digestHex(digest)) {
    throw new ProtocolError({
      status: 400,
      code: 'DIGEST_INVALID',
      message: 'the manifest does not match the digest',
    });
  }
  return digest;
}

/**
 * Checks that what a manifest references already exists, with the stated size. Its subject and layers with
 * URLs need not exist. An index may reference blobs in place of manifests, as BuildKit's cache does and
 * distribution 2 allows.
 */
async function checkReferences(
  { layout, manifests }: Exchange,
  repository: string,
  document: ManifestDocument,
): Promise<void> {
  const sizeOfBlob = (digest: Digest): Promise<number | undefined> =>
    fileSize(layout.blobFile(repository, digest));
  const sizeOfAny = async (digest: Digest): Promise<number | undefined> =>
    (await manifests.size(repository, digest)) ?? (await sizeOfBlob(digest));
  for (const descriptor of requiredBlobs(document)) {
    checkSize(descriptor, (await sizeOfBlob(descriptor.digest)) ?? missing(descriptor));
  }
  for (const descriptor of document.manifests ?? []) {
    checkSize(descriptor, (await sizeOfAny(descriptor.digest)) ?? missing(descriptor));
  }
  for (const descriptor of optionalReferences(document)) {
    checkSize(descriptor, (await sizeOfAny(descriptor.digest)) ?? descriptor.size);
  }
}

function checkSize({ digest, size }: DocumentDescriptor, actual: number): void {
  if (size === actual) return;
  throw new ProtocolError({
    status: 400,
    code: 'SIZE_INVALID',
    message: `the manifest states a size of ${size} bytes for ${digest}, which has ${actual}`,
  });
}

function missing({ digest }: DocumentDescriptor): never {
  throw new ProtocolError({
    status: 404,
    code: 'MANIFEST_BLOB_UNKNOWN',
    message: `the manifest references ${digest}, which is not in this repository`,
  });
}

async function deleteManifest(exchange: Exchange, { repository, reference }: ManifestRoute): Promise<void> {
  const { response, manifests } = exchange;
  if (!isDigest(reference)) {
    if (!isTag(reference) || !(await manifests.removeTag(repository, reference))) throw manifestUnknown();
    return sendEmpty(response, 202);
  }
  const stored = await manifests.read(repository, reference);
  if (stored === undefined || !(await manifests.remove(repository, reference))) throw manifestUnknown();
  const subject = parseDocument(stored.bytes, stored.mediaType).document.subject?.digest;
  if (subject !== undefined) await manifests.removeReferrer(repository, subject, reference);
  return sendEmpty(response, 202, { 'docker-content-digest': reference });
}

function manifestUnknown(): ProtocolError {
  return new ProtocolError({
    status: 404,
    code: 'MANIFEST_UNKNOWN',
    message: 'the manifest is not in this repository',
  });
}
