import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';
import { ignoreRejection } from '../../../shared/abortable.ts';
import { freeMemory } from '../../../shared/chunks.ts';
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
  readonly #pool = new BufferPool();

  constructor(run: SigningRun) {
    this.#run = run;
  }

  /**
   * Starts signing a module, unless it stays unchanged or must be signed another way. Resolves once the
   * module's bytes are no longer needed.
   */
  async start(analysis: ModuleAnalysis): Promise<EarlySignature | undefined> {
    const { content } = analysis;
    if (this.#run.signFile !== undefined || content.size > maxContentSize || !this.#changes(analysis))
      return undefined;
    this.#run.signal.throwIfAborted();
    const { bytes, release } = await this.#pool.acquire(content.size);
    try {
      await content.readInto(bytes, 0);
    } catch (error) {
      release();
      throw error;
    }
    const signature = createModuleSignature(this.#run, { content: bytes }).finally(release);
    // Awaited when the module's layer is written; until then, a rejection must not be reported as unhandled.
    ignoreRejection(signature);
    return { signature };
  }

  /** Frees the memory, once the last signature is made: no more are started. */
  end(): void {
    this.#pool.end();
  }

  #changes(analysis: ModuleAnalysis): boolean {
    // Modules that the policy "fail" refuses will not be signed either.
    const policy = this.#run.existing === 'replace' ? 'replace' : 'keep';
    return changesModule(decideSignAction(analysis, this.#run, policy, ''));
  }
}

/** Enough bytes for most modules, so that memory seldom has to be replaced by a larger buffer. */
const minSize = 1024 * 1024;

/** A buffer of the pool, in use until it is released. */
interface PooledBuffer {
  readonly bytes: Buffer;
  readonly release: () => void;
}

/** Buffers for modules, reused and limited in number. */
class BufferPool {
  readonly #limit = pLimit(availableParallelism() * 2);
  readonly #free: Buffer[] = [];
  #hasEnded = false;

  /** Waits until a buffer is available. */
  acquire(size: number): Promise<PooledBuffer> {
    return new Promise((resolve) => {
      void this.#limit(() => new Promise<void>((released) => resolve(this.#take(size, released))));
    });
  }

  #take(size: number, released: () => void): PooledBuffer {
    const reused = this.#free.pop();
    const isLargeEnough = reused !== undefined && reused.length >= size;
    if (reused !== undefined && !isLargeEnough) freeMemory(reused);
    const memory = isLargeEnough ? reused : Buffer.allocUnsafeSlow(Math.max(size, minSize));
    return {
      bytes: memory.subarray(0, size),
      release: () => {
        if (this.#hasEnded) freeMemory(memory);
        else this.#free.push(memory);
        released();
      },
    };
  }

  /** Frees all buffers, those in use once they are released. */
  end(): void {
    this.#hasEnded = true;
    for (const memory of this.#free.splice(0)) freeMemory(memory);
  }
}
