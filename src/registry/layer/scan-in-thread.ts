import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';
import { freeOutputBuffer, type LentChunk } from '../../shared/chunks.ts';
import type { RingWriter } from '../../shared/ring-buffer.ts';
import { RegistryError } from '../model/errors.ts';
import type { TarEntry, TarEntryHeader } from '../tar/entry.ts';
import type { EntryFilter } from './entry-filter.ts';
import { defaultLayerLimits, LayerSource } from './layer-source.ts';
import { type ScanLayerOptions, type ScannedLayer, scanLayer } from './scan-layer.ts';
import type { ScanFailure } from './scan-messages.ts';
import { ScanThread } from './scan-worker.ts';

/**
 * Size in bytes of a blob from which it is scanned in a thread. Starting a thread takes as long as scanning a blob of
 * this size.
 */
export const threadedSize = 6 * 1024 * 1024;

/** Threads at a time. This thread, which downloads and decides, leaves most of a processor's time to them. */
const limit = pLimit(availableParallelism());

/** Options of `scanBlob`. */
export interface ScanBlobOptions extends ScanLayerOptions {
  /** Bytes of the blob, as far as they are known. */
  readonly size: number;
  /** Selects at least the files that `accepts` does. */
  readonly filter: EntryFilter;
}

/** Says that a blob of so many bytes will be scanned soon: a thread that it needs starts meanwhile. */
export function expectBlob(size: number): void {
  if (size >= threadedSize) ScanThread.prepare();
}

/** Does what `scanLayer` does; for a large blob, another thread hashes, inflates and walks through the tar. */
export function scanBlob(options: ScanBlobOptions): Promise<ScannedLayer> {
  return options.size < threadedSize ? scanLayer(options) : limit(() => scanInThread(options));
}

/** Codes of errors that a wrong digest of the blob would explain better, so that it is read to its end. */
const explained: ReadonlySet<string> = new Set(['INVALID_LAYER', 'UNSUPPORTED_MEDIA_TYPE']);

async function scanInThread(options: ScanBlobOptions): Promise<ScannedLayer> {
  const { filter, limits = defaultLayerLimits, diffId, list, onDirectory } = options;
  const source = new LayerSource(options.source);
  const thread = ScanThread.take();
  const task = { filter, limits, diffId, lists: list !== undefined, directories: onDirectory !== undefined };
  const feeding = feed(source, thread, thread.begin(task));
  try {
    const scanned = await receive(thread, options);
    await feeding;
    thread.giveBack();
    return scanned;
  } catch (error) {
    thread.discard(error);
    await feeding;
    if (error instanceof RegistryError && explained.has(error.code)) await source.drain();
    throw source.failure?.error ?? error;
  } finally {
    await source.cancel();
  }
}

/** Passes the blob to the thread. Never throws: the source keeps its failure, and the thread learns of it. */
async function feed(source: LayerSource, thread: ScanThread, blob: RingWriter): Promise<void> {
  try {
    for (;;) {
      const chunk = await source.next();
      if (chunk === undefined) break;
      if (!(await blob.write(chunk))) return;
    }
    blob.end();
  } catch (error) {
    thread.fail(error);
  }
}

/** Passes on what the thread reports, until it is done. */
async function receive(thread: ScanThread, options: ScanBlobOptions): Promise<ScannedLayer> {
  const { list, accepts, onFile, onDirectory } = options;
  for (;;) {
    const report = await thread.next();
    switch (report.type) {
      case 'entries':
        for (const entry of report.entries) list?.add(entry);
        break;
      case 'directory':
        onDirectory?.(revived(report.header));
        break;
      case 'file':
        await pass(
          revived(report.header),
          thread,
          accepts?.(report.header.path) === true ? onFile : undefined,
        );
        break;
      case 'done':
        return report.scanned;
      case 'failed':
        throw errorOf(report.error);
      case 'content':
        throw new Error('content of no file');
    }
    thread.received(report.cost);
  }
}

async function pass(
  header: TarEntryHeader,
  thread: ScanThread,
  onFile: ScanLayerOptions['onFile'],
): Promise<void> {
  const content = contentOf(header, thread);
  const entry: TarEntry = { ...header, content: () => content };
  await onFile?.(entry);
  for await (const rest of content) void rest;
}

/** Yields a file's content, as far as it has not been read. It may be iterated over again to read the rest. */
function contentOf({ size }: TarEntryHeader, thread: ScanThread): AsyncIterable<LentChunk> {
  let remaining = size;
  let previous: { readonly memory: ArrayBuffer; readonly cost: number } | undefined;
  const next = async (): Promise<IteratorResult<LentChunk>> => {
    if (previous !== undefined) {
      freeOutputBuffer(previous.memory, previous.cost);
      thread.received(previous.cost);
      previous = undefined;
    }
    if (remaining === 0) return { done: true, value: undefined };
    const report = await thread.next();
    if (report.type === 'failed') throw errorOf(report.error);
    if (report.type !== 'content') throw new Error(`a file's content is followed by ${report.type}`);
    previous = report;
    remaining -= report.cost;
    return { done: false, value: Buffer.from(report.memory) };
  };
  return { [Symbol.asyncIterator]: () => ({ next }) };
}

/** Messages have bytes of another class than Buffer. */
function revived(header: TarEntryHeader): TarEntryHeader {
  const pax = new Map<string, Uint8Array>(header.pax)
    .entries()
    .map(([key, { buffer, byteOffset, length }]) => [key, Buffer.from(buffer, byteOffset, length)] as const);
  return { ...header, pax: new Map(pax) };
}

function errorOf({ code, message, hint, facts }: ScanFailure): Error {
  return code === undefined ? new Error(message) : new RegistryError({ code, message, hint, facts });
}
