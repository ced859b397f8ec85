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
