import { createHash } from 'node:crypto';
import type { HashAlgorithm } from '../model/module.ts';
import type { ByteSource } from '../../shared/byte-source.ts';
import { updateHash } from '../../shared/chunks.ts';

/**
 * Digests of a module's leading bytes, each computed at most once: a signature's digest covers the bytes
 * before it, and re-signing covers those before the first signature.
 */
export class ContentDigests {
  readonly #source: ByteSource;
  readonly #known = new Map<string, Buffer>();

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** Adds a digest that was computed elsewhere. */
  add(hash: HashAlgorithm, size: number, digest: Buffer): void {
    this.#known.set(`${hash}:${size}`, digest);
  }

  /** Returns the digest of the first `size` bytes. */
  async get(hash: HashAlgorithm, size: number): Promise<Buffer> {
    await this.prepare([{ hash, size }]);
    const digest = this.#known.get(`${hash}:${size}`);
    if (digest === undefined) throw new RangeError('The digest was not computed');
    return digest;
  }

  /** Computes several digests in one pass over the bytes. */
  async prepare(wanted: readonly { readonly hash: HashAlgorithm; readonly size: number }[]): Promise<void> {
    const missing = new Map(
      wanted.map(({ hash, size }) => [`${hash}:${size}`, { hash: createHash(hash), size }]),
    );
    for (const key of this.#known.keys()) missing.delete(key);
    if (missing.size === 0) return;
    const end = Math.max(...[...missing.values()].map(({ size }) => size));
    let position = 0;
    for await (const chunk of this.#source.stream(0, end)) {
      for (const { hash, size } of missing.values()) {
        if (position < size)
          updateHash(hash, position + chunk.length > size ? chunk.subarray(0, size - position) : chunk);
      }
      position += chunk.length;
    }
    for (const [key, { hash }] of missing) this.#known.set(key, hash.digest());
  }
}
