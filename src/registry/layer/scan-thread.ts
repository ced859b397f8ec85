// Runs in a thread: scans layers, one at a time, for scan-in-thread.ts.
import { parentPort } from 'node:worker_threads';
import type { LentChunk } from '../../shared/chunks.ts';
import { readRingBuffer, type RingBuffer } from '../../shared/ring-buffer.ts';
import { RegistryError } from '../model/errors.ts';
import type { TarEntry, TarEntryHeader } from '../tar/entry.ts';
import { isSelected } from './entry-filter.ts';
import type { ListedEntry } from './entry-list.ts';
import { scanLayer } from './scan-layer.ts';
import { maxUnreceived, type ScanFailure, type ScanReport, type ScanTask } from './scan-messages.ts';

/** Entries that are sent together. */
const batchSize = 64;
/** Approximate bytes of a message and of what an entry has besides its texts. */
const overhead = 256;
/** The largest piece of content, in bytes. */
const contentSize = 512 * 1024;

/** Reports on one layer, and waits where the receiver is too far behind. */
class Reporter {
  readonly #received: Int32Array;
  #sent = 0;
  #batch: ListedEntry[] = [];
  #batchCost = 0;

  constructor(received: Int32Array) {
    this.#received = received;
  }

  list({ path, type, linkName }: ListedEntry): void {
    this.#batch.push({ path, type, linkName });
    this.#batchCost += overhead + path.length + linkName.length;
    if (this.#batch.length >= batchSize) this.flush();
  }

  flush(): void {
    if (this.#batch.length === 0) return;
    const [entries, cost] = [this.#batch, this.#batchCost];
    this.#batch = [];
    this.#batchCost = 0;
    this.#send({ type: 'entries', entries, cost });
  }

  header(type: 'directory' | 'file', header: TarEntryHeader): void {
    this.flush();
    // Not slices of the pool, which would be sent whole.
    const pax = header.pax.entries().map(([key, value]) => {
      const bytes = Buffer.allocUnsafeSlow(value.length);
      value.copy(bytes);
      return [key, bytes] as const;
    });
    const cost = overhead + header.pax.values().reduce((sum, { length }) => sum + length, 0);
    this.#send({ type, header: plain(header, new Map(pax)), cost });
  }

  /** Sends a file in pieces, each in memory of its own. */
  async content(entry: TarEntry): Promise<void> {
    let left = entry.size;
    let piece = Buffer.allocUnsafeSlow(Math.min(left, contentSize));
    let filled = 0;
    for await (const chunk of entry.content()) {
      for (let offset = 0; offset < chunk.length;) {
        const count = chunk.copy(piece, filled, offset);
        offset += count;
        filled += count;
        if (filled < piece.length) continue;
        this.#send({ type: 'content', memory: piece.buffer, cost: filled }, [piece.buffer]);
        left -= filled;
        piece = Buffer.allocUnsafeSlow(Math.min(left, contentSize));
        filled = 0;
      }
    }
  }

  #send(report: ScanReport & { readonly cost: number }, transferred: readonly ArrayBuffer[] = []): void {
    this.#sent = (this.#sent + report.cost) | 0;
    post(report, transferred);
    for (;;) {
      const received = Atomics.load(this.#received, 0);
      if (((this.#sent - received) | 0) <= maxUnreceived) return;
      Atomics.wait(this.#received, 0, received);
    }
  }
}

/** Returns the header of an entry that is being read. */
function plain(header: TarEntryHeader, pax: TarEntryHeader['pax']): TarEntryHeader {
  const { index, name, path, type, size, linkName, mode, uid, gid, userName, groupName, mtime } = header;
  const { deviceMajor, deviceMinor } = header;
  const text = { index, name, path, type, size, linkName, userName, groupName };
  return { ...text, mode, uid, gid, mtime, deviceMajor, deviceMinor, pax };
}

function post(report: ScanReport, transferred: readonly ArrayBuffer[] = []): void {
  parentPort?.postMessage(report, [...transferred]);
}

async function scan(task: ScanTask): Promise<void> {
  const { filter, limits, diffId, lists, directories, received, blob } = task;
  const reporter = new Reporter(received);
  try {
    const scanned = await scanLayer({
      source: chunksOf(blob),
      blocking: true,
      limits,
      diffId,
      list: { add: (entry) => lists && reporter.list(entry) },
      accepts: () => true,
      onFile: async (entry) => {
        if (!isSelected(filter, entry)) return;
        reporter.header('file', entry);
        await reporter.content(entry);
      },
      onDirectory: directories ? (header) => reporter.header('directory', header) : undefined,
    });
    reporter.flush();
    post({ type: 'done', scanned });
  } catch (error) {
    reporter.flush();
    post({ type: 'failed', error: failureOf(error) });
  }
}

/** Yields the pieces of a blob. */
async function* chunksOf(blob: RingBuffer): AsyncGenerator<LentChunk> {
  yield* readRingBuffer(blob);
}

function failureOf(error: unknown): ScanFailure {
  if (error instanceof RegistryError) {
    const { code, message, hint, facts } = error;
    return { code, message, hint, facts };
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: undefined, message, hint: undefined, facts: {} };
}

parentPort?.on('message', (task: ScanTask) => void scan(task));
