interface Offer {
  readonly chunk: Buffer;
  readonly done: () => void;
}

/** Hands chunks on to a reader one by one, and tells the writer when the reader is done with each. Nothing is copied or kept. */
export class ChunkPipe {
  #next = withoutRejection(Promise.withResolvers<Offer | null>());
  #pending: (() => void) | undefined;
  #closed = false;

  /** Settles when the reader is done with the chunk, or wants no more. */
  async write(chunk: Buffer): Promise<void> {
    if (this.#closed) return;
    const taken = Promise.withResolvers<void>();
    this.#pending = taken.resolve;
    this.#next.resolve({ chunk, done: taken.resolve });
    await taken.promise;
  }

  /** Nothing comes any more. */
  end(): void {
    this.#next.resolve(null);
  }

  /** Nothing comes any more, since what makes the chunks failed. */
  fail(error: unknown): void {
    this.#next.reject(error);
  }

  /** The reader went away: the writer need not wait for it. */
  close(): void {
    this.#closed = true;
    this.#pending?.();
  }

  /** The chunks; one is valid until the next is asked for. */
  async *chunks(): AsyncGenerator<Buffer> {
    for (;;) {
      const offer = await this.#next.promise;
      if (offer === null) return;
      this.#next = withoutRejection(Promise.withResolvers<Offer | null>());
      try {
        yield offer.chunk;
      } finally {
        offer.done();
      }
    }
  }
}

/** A failure that nobody reads any more must not count as unhandled. */
function withoutRejection<T>(resolvers: PromiseWithResolvers<T>): PromiseWithResolvers<T> {
  resolvers.promise.catch(() => {});
  return resolvers;
}
