import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';
import { ignoreRejection } from '../../../shared/abortable.ts';
import type { ModuleAnalysis } from '../../kmod/analyze-module.ts';
import { createModuleSignature, changesModule, decideSignAction } from '../../kmod/sign-module.ts';
import type { SigningRun } from './signing-run.ts';

/** Larger modules are not held in memory: their digest is signed later. */
const maxContentSize = 4 * 1024 * 1024;

/** A signature in progress. */
export interface EarlySignature {
  readonly signature: Promise<Buffer>;
}

/**
 * Signs modules while layers are still being read, when processors are otherwise idle. The signature of a
 * module that turns out to be hidden from containers is discarded.
 */
export class EarlySignatures {
  readonly #run: SigningRun;
  readonly #memory = new ModuleMemory();

  constructor(run: SigningRun) {
    this.#run = run;
  }

  /**
   * Starts signing a module, unless it stays unchanged or must be signed another way. Resolves once the
   * module's bytes are no longer needed.
   */
  async begin(analysis: ModuleAnalysis): Promise<EarlySignature | undefined> {
    const { content } = analysis;
    if (this.#run.signFile !== undefined || content.size > maxContentSize || !this.#changes(analysis))
      return undefined;
    this.#run.signal.throwIfAborted();
    const { bytes, giveBack } = await this.#memory.borrow(content.size);
    try {
      await content.readInto(bytes, 0);
    } catch (error) {
      giveBack();
      throw error;
    }
    const signature = createModuleSignature(this.#run, { content: bytes }).finally(giveBack);
    // Awaited when the module's layer is written; until then, a rejection must not be reported as unhandled.
    ignoreRejection(signature);
    return { signature };
  }

  #changes(analysis: ModuleAnalysis): boolean {
    // Modules that the policy "fail" refuses will not be signed either.
    const policy = this.#run.existing === 'replace' ? 'replace' : 'keep';
    return changesModule(decideSignAction(analysis, this.#run, policy, ''));
  }
}

/** Enough bytes for most modules, so that memory seldom has to be replaced by a larger buffer. */
const minSize = 1024 * 1024;

/** Memory that belongs to a borrower until it is returned. */
interface BorrowedMemory {
  readonly bytes: Buffer;
  readonly giveBack: () => void;
}

/** Lends memory for modules to a limited number of borrowers at a time, and reuses it. */
class ModuleMemory {
  readonly #limit = pLimit(availableParallelism() * 2);
  readonly #free: Buffer[] = [];

  /** Waits until memory is available. */
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
