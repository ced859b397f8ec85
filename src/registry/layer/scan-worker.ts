import { Worker } from 'node:worker_threads';
import { createRingBuffer, RingWriter } from '../../shared/ring-buffer.ts';
import { keepHeapSmall } from '../../shared/small-heap.ts';
import { blobAhead, receivedTogether, type ScanReport, type ScanTask } from './scan-messages.ts';

/** The thread's code: its source, or a bundle next to this file's. */
const workerFile = import.meta.url.endsWith('.ts') ? './scan-thread.ts' : './scan-thread.cjs';

/** Megabytes of a thread's young generation: it keeps little, and a larger one would only keep it longer. */
const youngGeneration = 1;

/** Milliseconds after which a thread that has nothing to do ends. */
const idleTime = 5000;

/** Threads that have nothing to do. */
const idle = new Set<ScanThread>();

/** A thread that scans one layer at a time (`scan-thread.ts`). */
export class ScanThread {
  readonly #worker: Worker;
  readonly #reports: ScanReport[] = [];
  /** Bytes of reports that have been dealt with, of which it does not know yet. */
  #untold = 0;
  readonly #ring = createRingBuffer(blobAhead);
  #blob: RingWriter | undefined;
  #received = new Int32Array(new SharedArrayBuffer(4));
  #failure: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;
  #idleTimer: NodeJS.Timeout | undefined;

  private constructor() {
    keepHeapSmall();
    this.#worker = new Worker(new URL(workerFile, import.meta.url), {
      resourceLimits: { maxYoungGenerationSizeMb: youngGeneration },
    });
    this.#worker.on('message', (report: ScanReport) => {
      this.#reports.push(report);
      this.#wake?.();
    });
    this.#worker.once('error', (error) => this.fail(error));
    this.#worker.once('exit', () => this.fail(new Error('the thread that scans layers has ended')));
  }

  /** Returns a thread that has nothing to do, or starts one. */
  static take(): ScanThread {
    const [thread = new ScanThread()] = idle;
    idle.delete(thread);
    clearTimeout(thread.#idleTimer);
    thread.#worker.ref();
    return thread;
  }

  /** Starts a thread, unless there is one that has nothing to do. */
  static prepare(): void {
    if (idle.size === 0) new ScanThread().giveBack();
  }

  /** Tells it to scan a layer, whose bytes are passed to the writer that is returned. */
  begin(task: Omit<ScanTask, 'blob' | 'received'>): RingWriter {
    const blob = this.#ring;
    this.#untold = 0;
    this.#received = new Int32Array(new SharedArrayBuffer(4));
    this.#blob = new RingWriter(blob);
    this.#worker.postMessage({ ...task, blob, received: this.#received } satisfies ScanTask);
    return this.#blob;
  }

  /** Returns its next report. @throws what it failed with */
  async next(): Promise<ScanReport> {
    for (;;) {
      const report = this.#reports.shift();
      if (report !== undefined) return report;
      if (this.#failure !== undefined) throw this.#failure.error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Tells it that so many bytes of its reports have been dealt with, if they are many, or later. */
  received(bytes: number): void {
    this.#untold += bytes;
    if (this.#untold < receivedTogether) return;
    Atomics.add(this.#received, 0, this.#untold);
    Atomics.notify(this.#received, 0);
    this.#untold = 0;
  }

  /** Fails whoever waits for it. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    idle.delete(this);
    this.#wake?.();
    this.#blob?.abandon();
  }

  /** Ends it. */
  discard(error: unknown): void {
    this.fail(error);
    void this.#worker.terminate();
  }

  /** Keeps it for the next layer, for a while. */
  giveBack(): void {
    if (this.#failure !== undefined) return;
    this.#worker.unref();
    idle.add(this);
    this.#idleTimer = setTimeout(() => this.discard(new Error('the thread had nothing to do')), idleTime);
    this.#idleTimer.unref();
  }
}
