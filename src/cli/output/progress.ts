import type { ProgressEvent, ProgressListener } from '../../signer/report.ts';
import type { LogFormat } from './logger.ts';
import { describeProgress } from './progress-lines.ts';
import { formatBytes } from './text.ts';

/** Shows what goes on, on stderr. */
export interface Progress {
  /** Takes an event. */
  readonly report: ProgressListener;
  /** Writes a line that stays, above the bar if there is one. */
  line(text: string): void;
  /** Takes the bar away. */
  clear(): void;
}

/** Where progress goes, and how. */
export interface ProgressOptions {
  readonly stream: { write(text: string): unknown; readonly columns?: number };
  /** Whether a bar may be drawn: the stream is a terminal and nobody forbade it. */
  readonly live: boolean;
  /** No progress; `line` still writes. */
  readonly silent: boolean;
  readonly format: LogFormat;
}

const millisecondsBetweenFrames = 80;
const barWidth = 24;

/** Makes a progress display: a bar on a terminal, plain lines elsewhere. */
export function createProgress({ stream, live, silent, format }: ProgressOptions): Progress {
  const bar = live && format === 'text' && !silent ? new Bar(stream) : null;
  const line = (text: string): void => {
    bar?.clear();
    stream.write(`${text}\n`);
  };
  return {
    line,
    clear: () => bar?.clear(),
    report(event) {
      bar?.update(event);
      const description = silent ? null : describeProgress(event);
      if (description === null) return;
      if (format === 'text') line(description);
      else
        line(JSON.stringify({ time: new Date().toISOString(), level: 'info', message: 'Progress', event }));
    },
  };
}

/** One line at the bottom of the terminal: how much of the layers has been read. */
class Bar {
  readonly #stream: ProgressOptions['stream'];
  readonly #layers = new Map<string, { done: number; total: number }>();
  #visible = false;
  #drawnAt = 0;

  constructor(stream: ProgressOptions['stream']) {
    this.#stream = stream;
  }

  update(event: ProgressEvent): void {
    if (event.type !== 'layer-read') return;
    this.#layers.set(event.digest, { done: event.done, total: event.total });
    const now = performance.now();
    if (now - this.#drawnAt < millisecondsBetweenFrames) return;
    this.#drawnAt = now;
    this.#draw();
  }

  clear(): void {
    if (!this.#visible) return;
    this.#visible = false;
    this.#stream.write('\r\u001B[2K');
  }

  #draw(): void {
    let done = 0;
    let total = 0;
    for (const layer of this.#layers.values()) {
      done += layer.done;
      total += layer.total;
    }
    const filled = total === 0 ? 0 : Math.min(barWidth, Math.round((done / total) * barWidth));
    const bar = `${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}`;
    const text = `Reading layers [${bar}] ${formatBytes(done)} of ${formatBytes(total)}`;
    this.#visible = true;
    this.#stream.write(`\r\u001B[2K${text.slice(0, Math.max(1, (this.#stream.columns ?? 80) - 1))}`);
  }
}
