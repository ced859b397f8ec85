import type { KeyObject } from 'node:crypto';

/** A private key and, from a container that holds one, its certificate in DER. */
export interface KeyMaterial {
  readonly privateKey: KeyObject;
  readonly certificate: Buffer | null;
}
