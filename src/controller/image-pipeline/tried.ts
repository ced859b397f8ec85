import type { ModuleTarget } from '../../builder/target.ts';
import type { ImageState } from './image-state.ts';

/** A build succeeded whose result nobody kept. */
export function buildTried({ image, sign }: ModuleTarget, job: string): ImageState {
  const unsigned = sign === undefined ? '' : ', but signing it was not tried, since nothing is pushed';
  return { phase: 'Pending', reason: 'BuildTried', message: `${image} can be built${unsigned}`, job };
}

/** What is to be signed would have to be pushed for that. */
export function signatureNotTried({ image }: ModuleTarget, source: string): ImageState {
  const message = `${image} is not there with the signatures that the Module asks for, and signing ${source} was not tried, since nothing is pushed`;
  return { phase: 'Pending', reason: 'SignatureNotTried', message };
}
