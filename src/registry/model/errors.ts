import { KmmError } from '../../shared/errors.ts';

/** Why an operation of the registry layer failed. Stable: the command line maps codes to exit codes. */
export type RegistryErrorCode =
  /** The text is not a well-formed reference, digest, platform or option. */
  | 'INVALID_REFERENCE'
  /** A credential or registry configuration file cannot be parsed. */
  | 'INVALID_CONFIGURATION'
  /** The registry reports that the manifest, tag or repository does not exist. */
  | 'NOT_FOUND'
  /** The manifest exists, but a blob that it references does not. */
  | 'BLOB_NOT_FOUND'
  /** Missing or wrong credentials (401). */
  | 'UNAUTHORIZED'
  /** Insufficient permissions (403). */
  | 'DENIED'
  /** The tag exists with different content, and the registry does not allow it to be moved. */
  | 'IMMUTABLE_TAG'
  /** 429 until the retries ran out. */
  | 'TOO_MANY_REQUESTS'
  /** An unexpected status, or an unusable response. */
  | 'UNEXPECTED_RESPONSE'
  /** DNS, connection, TLS or timeout, after retries. */
  | 'NETWORK'
  /** A redirect or token realm that is unsafe to follow. */
  | 'UNSAFE_REDIRECT'
  /** Bytes that do not match the promised digest or length. */
  | 'DIGEST_MISMATCH'
  /** A manifest, index or configuration that is malformed or contradicts its media type. */
  | 'INVALID_MANIFEST'
  /** Docker schema 1, or another media type that is out of scope. */
  | 'UNSUPPORTED_MEDIA_TYPE'
  /** A layer that cannot be unpacked: damaged compression or tar, invalid entries, or a wrong diff ID. */
  | 'INVALID_LAYER'
  /** Content exceeds a limit: bytes, entries, header size. */
  | 'LIMIT_EXCEEDED'
  /** Another process is writing to the directory. */
  | 'IN_USE'
  /** The requested platform is not in the index. */
  | 'PLATFORM_NOT_FOUND';

/**
 * An error of the registry layer. `facts` contain, where applicable, registry, repository, reference, digest,
 * status, path.
 */
export class RegistryError extends KmmError<RegistryErrorCode> {
  override readonly name = 'RegistryError';
}
