import { KmmError } from '../../../shared/errors.ts';

/** Why an object that a Module refers to cannot be used. */
export type ReferencedObjectErrorCode =
  /** The operator may not read it. */
  | 'REFERENCE_FORBIDDEN'
  /** A Secret without a certificate that can be read. */
  | 'INVALID_CERTIFICATE_SECRET'
  /** A Secret without registry credentials. */
  | 'INVALID_PULL_SECRET';

/** An object that a Module refers to cannot be used. `facts` hold kind, namespace and name. */
export class ReferencedObjectError extends KmmError<ReferencedObjectErrorCode> {
  override readonly name = 'ReferencedObjectError';
}
