import type { Descriptor } from '../manifest.ts';

/**
 * Tells whether a child of an index describes another child, as the attestations do that BuildKit makes:
 * they speak of one exact digest and are wrong about any other image.
 */
export function isAttestation({ annotations }: Descriptor): boolean {
  return annotations?.['vnd.docker.reference.type'] !== undefined;
}
