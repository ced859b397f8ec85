import type { FileHandle } from 'node:fs/promises';
import { ignoreRejection } from '../../../shared/abortable.ts';
import { fileSource } from '../../../shared/byte-source.ts';
import type { LentChunk } from '../../../shared/chunks.ts';

/** A file that is read while it is still being written, by readers that do not hold up the writer. */
export class GrowingFile {
  readonly #handle: FileHandle;
  #size = 0;
  #hasEnded = false;
  #change = nextChange();

  /** @param handle belongs to the caller, who closes it once the file has ended or failed */
  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** Says that so many bytes more have been written. */
  grow(bytes: number): void {
    this.#size += bytes;
    this.#change.resolve();
    this.#change = nextChange();
  }

  /** Marks the end of the file. */
  end(): void {
    this.#hasEnded = true;
    this.#change.resolve();
  }

  /** Fails the readers, because the file will not be complete. */
  fail(error: unknown): void {
    this.#change.reject(error);
  }

  /** Yields the file from its start, as it is written. */
  async *chunks(): AsyncGenerator<LentChunk> {
    const source = await fileSource(this.#handle, { size: Number.MAX_SAFE_INTEGER });
    for (let at = 0; ;) {
      const end = this.#size;
      if (at < end) {
        yield* source.stream(at, end);
        at = end;
      } else if (this.#hasEnded) {
        return;
      } else {
        await this.#change.promise;
      }
    }
  }
}

function nextChange(): PromiseWithResolvers<void> {
  const resolvers = Promise.withResolvers<void>();
  ignoreRejection(resolvers.promise);
  return resolvers;
}
