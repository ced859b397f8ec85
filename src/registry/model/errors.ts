import { KmmError } from '../../shared/errors.ts';

/** Why something on the registry floor failed. Stable: the command line maps codes to exit codes. */
export type RegistryErrorCode =
  /** The text is not a reference, digest, platform or option of the right form. */
  | 'INVALID_REFERENCE'
  /** A credential or registry configuration file cannot be read as what it should be. */
  | 'INVALID_CONFIGURATION'
  /** The registry says that the manifest, tag or repository does not exist. */
  | 'NOT_FOUND'
  /** The manifest exists but a blob that it names does not. */
  | 'BLOB_NOT_FOUND'
  /** No or wrong credentials (401). */
  | 'UNAUTHORIZED'
  /** The credentials do not suffice (403). */
  | 'DENIED'
  /** The tag exists with other content, and the registry does not let it be moved. */
  | 'IMMUTABLE_TAG'
  /** 429 until patience ran out. */
  | 'TOO_MANY_REQUESTS'
  /** A response that the registry should not give: an unexpected status, or garbage. */
  | 'UNEXPECTED_RESPONSE'
  /** DNS, connection, TLS or timeout, after retries. */
  | 'NETWORK'
  /** A redirect or token realm that must not be followed. */
  | 'UNSAFE_REDIRECT'
  /** Bytes whose digest or length is not the promised one. */
  | 'DIGEST_MISMATCH'
  /** A manifest, index or configuration that is not well formed, or contradicts its media type. */
  | 'INVALID_MANIFEST'
  /** Docker schema 1, or another media type that is out of scope. */
  | 'UNSUPPORTED_MEDIA_TYPE'
  /** A layer that cannot be unpacked: damaged compression or tar, or one that lies. */
  | 'INVALID_LAYER'
  /** A layer holds more than the limit: bytes, entries, header size. */
  | 'LIMIT_EXCEEDED'
  /** Another process is writing to the folder. */
  | 'IN_USE'
  /** The platform asked for is not in the index. */
  | 'PLATFORM_NOT_FOUND';

/** An error of the registry floor. `facts` hold what applies of registry, repository, reference, digest, status, path. */
export class RegistryError extends KmmError<RegistryErrorCode> {
  override readonly name = 'RegistryError';
}
