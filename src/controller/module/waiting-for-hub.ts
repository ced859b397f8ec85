import { KmmError } from '../../shared/errors.ts';
import type { ImageResult } from './kernel-result.ts';
import type { WantedKernel } from './wanted-kernels.ts';

/** The result where an image is not there, and a hub makes images: it has not made this one yet. */
export function waitingForHub(result: ImageResult, { target }: WantedKernel): ImageResult {
  if (target instanceof KmmError || result.state.reason !== 'ImageNotFound') return result;
  const { image } = target;
  // What a digest names was there, and is gone.
  if (image.includes('@')) return result;
  const message = `${image} does not exist; the hub of this cluster has not made it yet`;
  return { ...result, state: { ...result.state, phase: 'Pending', reason: 'WaitingForHub', message } };
}
