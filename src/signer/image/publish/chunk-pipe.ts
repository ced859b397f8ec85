import { ignoreRejection } from '../../../shared/abortable.ts';
import type { LentChunk } from '../../../shared/chunks.ts';

interface Offer {
  readonly chunk: LentChunk;
  readonly done: () => void;
}

/**
 * Passes chunks to a reader one by one, and tells the writer when the reader is done with each. Nothing is
 * copied or kept.
 */
export class ChunkPipe {
  #next = nextOffer();
  #pending: (() => void) | undefined;
  #closed = false;

  /** Resolves when the reader is done with the chunk, or wants no more. */
  async write(chunk: LentChunk): Promise<void> {
    if (this.#closed) return;
    const taken = Promise.withResolvers<void>();
    this.#pending = taken.resolve;
    this.#next.resolve({ chunk, done: taken.resolve });
    await taken.promise;
  }

  /** Marks the end of the chunks. */
  end(): void {
    this.#next.resolve(null);
  }

  /** Fails the reader, because the source of the chunks failed. */
  fail(error: unknown): void {
    this.#next.reject(error);
  }

  /** Releases the writer after the reader has stopped. */
  close(): void {
    this.#closed = true;
    this.#pending?.();
  }

  /** Yields the chunks. */
  async *chunks(): AsyncGenerator<LentChunk> {
    for (;;) {
      const offer = await this.#next.promise;
      if (offer === null) return;
      this.#next = nextOffer();
      try {
        yield offer.chunk;
      } finally {
        offer.done();
      }
    }
  }
}

function nextOffer(): PromiseWithResolvers<Offer | null> {
  const resolvers = Promise.withResolvers<Offer | null>();
  ignoreRejection(resolvers.promise);
  return resolvers;
}
