import type { Digest } from './digest.ts';

/** A name in a registry, in canonical form (Docker Hub's defaults filled in). */
export interface Reference {
  /** Host and port as people write it: `docker.io`, `registry.example:5000`, `[::1]:5000`. */
  readonly registry: string;
  /** `library/busybox` */
  readonly repository: string;
  readonly tag?: string;
  /** With a tag beside it, the digest counts. */
  readonly digest?: Digest;
}
