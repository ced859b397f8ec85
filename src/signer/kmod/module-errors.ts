import { SignerError } from '../model/errors.ts';

/** The error for a module that cannot be what it claims to be. `what` completes "The module is damaged: …". */
export function damagedModule(what: string): SignerError {
  return new SignerError({ code: 'DAMAGED_MODULE', message: `The module is damaged: ${what}` });
}

/** The error for a compressed module that unpacks to more than the limit. */
export function moduleTooLarge(maxBytes: number): SignerError {
  return new SignerError({
    code: 'LIMIT_EXCEEDED',
    message: `A compressed module unpacks to more than ${maxBytes} bytes`,
    hint: 'No real module is that large: do not trust this file.',
    facts: { limit: maxBytes },
  });
}
