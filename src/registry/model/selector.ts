import type { Digest } from './digest.ts';

/** A tag, or the digest of a manifest. */
export type Selector = { readonly tag: string } | { readonly digest: Digest };
