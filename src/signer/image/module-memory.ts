import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';

/** Bytes that are enough for most modules, so that memory seldom has to be replaced by larger one. */
const minSize = 1024 * 1024;

/** Memory that belongs to a borrower until it is given back. */
export interface BorrowedMemory {
  readonly bytes: Buffer;
  readonly giveBack: () => void;
}

/** Lends memory for modules to a few users at a time, and uses it again. */
export class ModuleMemory {
  readonly #limit = pLimit(availableParallelism() * 2);
  readonly #free: Buffer[] = [];

  /** Waits until memory is to be had. */
  borrow(size: number): Promise<BorrowedMemory> {
    return new Promise((resolve) => {
      void this.#limit(() => new Promise<void>((givenBack) => resolve(this.#take(size, givenBack))));
    });
  }

  #take(size: number, givenBack: () => void): BorrowedMemory {
    const known = this.#free.pop();
    const memory =
      known !== undefined && known.length >= size ? known : Buffer.allocUnsafeSlow(Math.max(size, minSize));
    return {
      bytes: memory.subarray(0, size),
      giveBack: () => {
        this.#free.push(memory);
        givenBack();
      },
    };
  }
}
