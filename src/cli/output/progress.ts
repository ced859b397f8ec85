import type { Traffic } from '../../registry/image/repository.ts';
import type { ProgressEvent } from '../../signer/model/report.ts';
import { jsonLine } from '../../shared/logger.ts';
import { count, printable } from '../../shared/printable.ts';
import { formatBytes, type LogFormat, shortDigest } from './text.ts';

/** An image of a list is begun; `done` of them have ended. */
interface ImageEvent {
  readonly type: 'image';
  readonly line: number;
  readonly source: string;
  readonly done: number;
  readonly total: number;
}

/** Shows progress on stderr. */
export interface Progress {
  /** Receives an event. */
  readonly report: (event: ProgressEvent | ImageEvent) => void;
  /** Includes a repository's traffic in the bar. */
  watch(repository: { readonly traffic: Traffic }): void;
  /** Writes a permanent line, above the bar if there is one. */
  line(text: string): void;
  /** Removes the bar, until another repository is watched. */
  end(): void;
}

/** Where and how to show progress. */
export interface ProgressOptions {
  readonly stream: { write(text: string): unknown; readonly columns?: number };
  /** Whether a bar may be drawn: the stream is a terminal and it is not disabled. */
  readonly live: boolean;
  /** No progress; `line` still writes. */
  readonly silent: boolean;
  readonly format: LogFormat;
}

const millisecondsBetweenFrames = 120;
const barWidth = 24;
/** The width of a terminal that does not report one. */
const defaultColumns = 80;

/** Creates a progress display: a bar on a terminal, plain lines elsewhere. */
export function createProgress({ stream, live, silent, format }: ProgressOptions): Progress {
  const bar = live && format === 'text' && !silent ? new Bar(stream) : null;
  const line = (text: string): void => {
    bar?.clear();
    stream.write(`${text}\n`);
  };
  return {
    line,
    watch: (repository) => bar?.watch(repository),
    end: () => bar?.end(),
    report(event) {
      bar?.update(event);
      if (silent) return;
      if (format === 'text') {
        const description = describeProgress(event);
        if (description !== null) line(description);
      } else {
        line(jsonLine('info', 'Progress', { event }));
      }
    },
  };
}

/** One line at the bottom of the terminal: the current step, its progress, and the bytes transferred. */
class Bar {
  readonly #stream: ProgressOptions['stream'];
  readonly #repositories = new Set<{ readonly traffic: Traffic }>();
  #timer: NodeJS.Timeout | undefined;
  #visible = false;
  #label = 'Reading the image';
  #done = 0;
  #total = 0;

  constructor(stream: ProgressOptions['stream']) {
    this.#stream = stream;
  }

  watch(repository: { readonly traffic: Traffic }): void {
    this.#repositories.add(repository);
    this.#timer ??= setInterval(() => this.#draw(), millisecondsBetweenFrames).unref();
  }

  update(event: ProgressEvent | ImageEvent): void {
    if (event.type === 'layer-read') this.#set('Reading layers', event.done, event.total);
    else if (event.type === 'module-signed') this.#set('Signing', event.done, event.total);
    else if (event.type === 'layer-written' || event.type === 'blob') this.#set('Writing', 0, 0);
  }

  clear(): void {
    if (!this.#visible) return;
    this.#visible = false;
    this.#stream.write('\r\u001B[2K');
  }

  end(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.clear();
  }

  #set(label: string, done: number, total: number): void {
    this.#label = label;
    this.#done = done;
    this.#total = total;
  }

  #draw(): void {
    let down = 0;
    let up = 0;
    for (const { traffic } of this.#repositories) {
      down += traffic.bytesDown;
      up += traffic.bytesUp;
    }
    const text = `${this.#label}${this.#gauge()}  ${formatBytes(down)} down, ${formatBytes(up)} up`;
    this.#visible = true;
    this.#stream.write(`\r\u001B[2K${text.slice(0, (this.#stream.columns || defaultColumns) - 1)}`);
  }

  #gauge(): string {
    if (this.#total === 0) return '';
    const filled = Math.min(barWidth, Math.round((this.#done / this.#total) * barWidth));
    return ` [${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}] ${this.#done} of ${this.#total}`;
  }
}

/** Describes an event as a log line; null for events that are not shown. */
function describeProgress(event: ProgressEvent | ImageEvent): string | null {
  switch (event.type) {
    case 'image':
      return `Line ${event.line}: ${printable(event.source)} (${event.done + 1} of ${event.total})`;
    case 'resolved':
      return `Resolved ${printable(event.image)} to ${shortDigest(event.digest)}`;
    case 'platform':
      return event.platform === null
        ? null
        : `Platform ${printable(event.platform)} (${shortDigest(event.digest)})`;
    case 'layer-read': {
      const layer = shortDigest(event.digest);
      const place = `(${event.done} of ${event.total})`;
      return event.known ? `Layer ${layer} is known ${place}` : `Read layer ${layer} ${place}`;
    }
    case 'module-found':
      return null;
    case 'module-signed':
      return event.done < event.total ? null : `Signed ${count(event.total, 'module')}`;
    case 'layer-written':
      return `Wrote layer ${shortDigest(event.digest)} (${formatBytes(event.size)})`;
    case 'blob':
      return event.outcome === 'uploaded'
        ? `Uploaded ${shortDigest(event.digest)} (${formatBytes(event.size)})`
        : null;
    case 'verified':
      return `Verified ${count(event.modules, 'module')}`;
    case 'tagged':
      return `Tagged ${printable(event.image)}`;
  }
}
