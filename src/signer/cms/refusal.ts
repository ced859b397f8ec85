/**
 * Names of errno.h with which a kernel refuses a signature. ENOKEY and ENOPKG alone are forgiven by kernels that do not
 * enforce signatures; insmod gets EKEYREJECTED for both where they are enforced.
 */
export type RefusalCode = 'EBADMSG' | 'EINVAL' | 'EKEYREJECTED' | 'EMSGSIZE' | 'ENOENT' | 'ENOKEY' | 'ENOPKG';

/** A kernel refuses this signature. The message completes "The signature …" or "The appended signature is not …". */
export class SignatureRefusal extends Error {
  override readonly name = 'SignatureRefusal';
  readonly code: RefusalCode;

  constructor(code: RefusalCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Bytes that the kernel's decoder cannot read. */
export function malformed(what: string): SignatureRefusal {
  return new SignatureRefusal('EBADMSG', what);
}
