import { KmmError } from '../../shared/errors.ts';

/** Why an operation of the signer failed. Stable: the command line maps codes to exit codes. */
export type SignerErrorCode =
  /** A key or certificate cannot be read or used, or does not match its counterpart; a wrong passphrase. */
  | 'INVALID_KEY'
  | 'INVALID_CERTIFICATE'
  | 'KEY_CERTIFICATE_MISMATCH'
  | 'WRONG_PASSPHRASE'
  /** A file that was requested by name is not a kernel module. */
  | 'NOT_A_MODULE'
  /** A module that is cut short, or whose ELF structure, compression or signature trailer is damaged. */
  | 'DAMAGED_MODULE'
  /** A compressed module or a key file that exceeds the limit. */
  | 'LIMIT_EXCEEDED'
  /** A pattern or path matches no file of the image. */
  | 'FILE_NOT_IN_IMAGE'
  /** A pattern that cannot be parsed. */
  | 'INVALID_PATTERN'
  /** A module that is also a file of the image's OSTree repository, which new content would damage. */
  | 'OSTREE_OBJECT'
  /**
   * Mode append: runtimes see different files at a path, and an additional layer cannot give all of them the
   * signed one.
   */
  | 'VIEWS_DIFFER'
  /** `existing: 'fail'` and the module is already signed. */
  | 'ALREADY_SIGNED'
  /** Verification: a module is not signed. */
  | 'UNSIGNED'
  /** Verification: a signature is invalid, or not by a trusted certificate. */
  | 'UNTRUSTED'
  /** The result to be published does not verify. Nothing was published. */
  | 'VERIFICATION_FAILED'
  /** A program that is needed (sign-file, xz) is missing or failed. */
  | 'PROGRAM_FAILED'
  /** A local file cannot be read or written. */
  | 'FILE_ERROR';

/** An error of the signer. `facts` hold whichever of path, image, pattern, digest and program apply. */
export class SignerError extends KmmError<SignerErrorCode> {
  override readonly name = 'SignerError';
}

/** Returns the error for a damaged module. `what` completes "The module is damaged: …". */
export function damagedModule(what: string): SignerError {
  return new SignerError({ code: 'DAMAGED_MODULE', message: `The module is damaged: ${what}` });
}

/** Returns the error for a compressed module that unpacks to more than the limit. */
export function moduleTooLarge(maxBytes: number): SignerError {
  return new SignerError({
    code: 'LIMIT_EXCEEDED',
    message: `A compressed module unpacks to more than ${maxBytes} bytes`,
    hint: 'No real module is that large: do not trust this file.',
    facts: { limit: maxBytes },
  });
}

/**
 * Names from errno.h with which a kernel refuses a signature. Kernels that do not enforce signatures tolerate
 * only ENOKEY and ENOPKG; where signatures are enforced, insmod gets EKEYREJECTED for both.
 */
export type RefusalCode = 'EBADMSG' | 'EINVAL' | 'EKEYREJECTED' | 'EMSGSIZE' | 'ENOENT' | 'ENOKEY' | 'ENOPKG';

/** A kernel's refusal. The message completes "The signature …" or "The appended signature is not …". */
export class SignatureRefusal extends Error {
  override readonly name = 'SignatureRefusal';
  readonly code: RefusalCode;

  constructor(code: RefusalCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Creates the refusal of bytes that the kernel's decoder cannot read. */
export function malformed(what: string): SignatureRefusal {
  return new SignatureRefusal('EBADMSG', what);
}
