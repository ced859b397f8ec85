import { createHash, type Hash } from 'node:crypto';

declare const digestBrand: unique symbol;

/** A content digest, `sha256:<hex>` or `sha512:<hex>` (image-spec, descriptor.md, "Digests"). */
export type Digest = string & { readonly [digestBrand]: true };

/** The digest algorithms of the specification that are in use. */
export type DigestAlgorithm = 'sha256' | 'sha512';

const pattern = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Tells whether `text` is a well-formed digest. */
export function isDigest(text: string): text is Digest {
  return pattern.test(text);
}

/** Returns the algorithm part of a digest. */
export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}

/** Returns the hexadecimal part of a digest. */
export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

/** Computes the sha256 digest of bytes in memory. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return finishDigest(createHash('sha256').update(bytes));
}

/** Finishes a sha256 hash and returns it as a digest. */
export function finishDigest(hash: Hash): Digest {
  return `sha256:${hash.digest('hex')}` as Digest;
}
