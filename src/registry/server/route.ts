import { isDigest, type Digest } from '../model/digest.ts';
import { ProtocolError } from './exchange.ts';

/** The target of a request's path. */
export type Route =
  | { readonly kind: 'base' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'blob'; readonly repository: string; readonly digest: Digest }
  | { readonly kind: 'uploads'; readonly repository: string }
  | { readonly kind: 'upload'; readonly repository: string; readonly session: string }
  | { readonly kind: 'manifest'; readonly repository: string; readonly reference: string }
  | { readonly kind: 'tags'; readonly repository: string }
  | { readonly kind: 'referrers'; readonly repository: string; readonly digest: Digest };

/**
 * The longest repository name, in bytes (distribution-spec, "Pulling manifests": clients count 255 including
 * the host).
 */
const maxNameLength = 255;

const namePattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const sessionPattern = /^[0-9a-f-]{36}$/;

/** Tells whether a repository name is valid by the specification. Such a name is safe as a path. */
export function isRepositoryName(name: string): boolean {
  return name.length <= maxNameLength && namePattern.test(name);
}

/** Tells whether a tag is valid by the specification. Such a tag is safe as a file name. */
export function isTag(tag: string): boolean {
  return tagPattern.test(tag);
}

/** Parses a path. @throws ProtocolError 404 or 400 for an invalid path, name or digest */
export function parseRoute(pathname: string): Route {
  const path = decode(pathname);
  if (path === '/v2/' || path === '/v2') return { kind: 'base' };
  if (path === '/v2/_catalog') return { kind: 'catalog' };
  const match =
    /^\/v2\/(?<name>.+)\/(?<kind>blobs|manifests|tags|referrers)\/(?<rest>[^/]*|uploads\/[^/]*)$/s.exec(path);
  const { name = '', kind = '', rest = '' } = match?.groups ?? {};
  if (match === null) throw notFound();
  const repository = checkName(name);
  switch (kind) {
    case 'blobs':
      return parseBlobRoute(repository, rest);
    case 'manifests':
      if (rest.startsWith('uploads/')) throw notFound();
      return { kind: 'manifest', repository, reference: rest };
    case 'referrers':
      return { kind: 'referrers', repository, digest: checkDigest(rest) };
    default:
      if (rest !== 'list') throw notFound();
      return { kind: 'tags', repository };
  }
}

function parseBlobRoute(repository: string, rest: string): Route {
  if (rest === 'uploads' || rest === 'uploads/') return { kind: 'uploads', repository };
  if (!rest.startsWith('uploads/')) return { kind: 'blob', repository, digest: checkDigest(rest) };
  const session = rest.slice('uploads/'.length);
  if (!sessionPattern.test(session)) throw uploadUnknown();
  return { kind: 'upload', repository, session };
}

/** Checks a digest from a client. @throws ProtocolError DIGEST_INVALID */
export function checkDigest(text: string): Digest {
  if (!isDigest(text)) {
    throw new ProtocolError({
      status: 400,
      code: 'DIGEST_INVALID',
      message: 'the digest is not well formed',
    });
  }
  return text;
}

/** Checks a repository name from a client. @throws ProtocolError NAME_INVALID */
export function checkName(name: string): string {
  if (!isRepositoryName(name)) {
    throw new ProtocolError({
      status: 400,
      code: 'NAME_INVALID',
      message: 'the repository name is not well formed',
    });
  }
  return name;
}

/** Builds the response for an upload session that does not exist, or no longer. */
export function uploadUnknown(): ProtocolError {
  return new ProtocolError({
    status: 404,
    code: 'BLOB_UPLOAD_UNKNOWN',
    message: 'the upload does not exist',
  });
}

function notFound(): ProtocolError {
  return new ProtocolError({
    status: 404,
    code: 'UNSUPPORTED',
    message: 'the path is not part of the distribution API',
  });
}

function decode(pathname: string): string {
  try {
    return decodeURIComponent(pathname);
  } catch {
    throw notFound();
  }
}
