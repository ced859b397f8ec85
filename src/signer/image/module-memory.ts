import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';
import type { ByteSource } from '../kmod/byte-source.ts';

/** Lends memory for modules to a few users at a time, and uses it again. */
export class ModuleMemory {
  readonly #limit = pLimit(availableParallelism() * 2);
  readonly #free: Buffer[] = [];

  /** Reads the first `size` bytes of a source and gives them to `use` until its promise is settled. */
  lend<T>(source: ByteSource, size: number, use: (bytes: Buffer) => Promise<T>): Promise<T> {
    return this.#limit(async () => {
      const known = this.#free.pop();
      const memory = known !== undefined && known.length >= size ? known : Buffer.allocUnsafeSlow(size);
      try {
        await source.readInto(memory.subarray(0, size), 0);
        return await use(memory.subarray(0, size));
      } finally {
        this.#free.push(memory);
      }
    });
  }
}
