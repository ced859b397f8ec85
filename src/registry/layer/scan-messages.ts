import type { ErrorFacts } from '../../shared/errors.ts';
import type { RingBuffer } from '../../shared/ring-buffer.ts';
import type { Digest } from '../model/digest.ts';
import type { RegistryErrorCode } from '../model/errors.ts';
import type { TarEntryHeader } from '../tar/entry.ts';
import type { EntryFilter } from './entry-filter.ts';
import type { ListedEntry } from './entry-list.ts';
import type { LayerLimits } from './layer-source.ts';
import type { ScannedLayer } from './scan-layer.ts';

/** A layer to scan. */
export interface ScanTask {
  readonly filter: EntryFilter;
  readonly limits: LayerLimits;
  readonly diffId: Digest | undefined;
  /** Whether to list all entries. */
  readonly lists: boolean;
  /** Whether to send the headers of directories. */
  readonly directories: boolean;
  /** The layer's bytes. */
  readonly blob: RingBuffer;
  /** Counts the bytes of messages that the receiver is done with, modulo 2^32. */
  readonly received: Int32Array;
}

/** What a thread reports, in the order of the tar. */
export type ScanReport =
  | { readonly type: 'entries'; readonly entries: readonly ListedEntry[]; readonly cost: number }
  | { readonly type: 'directory'; readonly header: TarEntryHeader; readonly cost: number }
  /** A selected file; its content follows. */
  | { readonly type: 'file'; readonly header: TarEntryHeader; readonly cost: number }
  | { readonly type: 'content'; readonly memory: ArrayBuffer; readonly cost: number }
  | { readonly type: 'done'; readonly scanned: ScannedLayer }
  | { readonly type: 'failed'; readonly error: ScanFailure };

/** An error, without its class. */
export interface ScanFailure {
  /** undefined: not one that is thrown on purpose. */
  readonly code: RegistryErrorCode | undefined;
  readonly message: string;
  readonly hint: string | undefined;
  readonly facts: ErrorFacts;
}

/** Bytes of messages that a thread may be ahead of their receiver; then it waits. */
export const maxUnreceived = 1024 * 1024;

/** Bytes of messages of which the receiver tells the thread together: each time may wake it. */
export const receivedTogether = maxUnreceived / 4;

/** Bytes of a layer that may be on their way to a thread. */
export const blobAhead = 1024 * 1024;
