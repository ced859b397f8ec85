/** The results as a table in Markdown. */
import { median, type Cost } from './measure.ts';

/** All runs of one case on one image. */
export interface Result {
  readonly image: string;
  readonly case: string;
  readonly costs: readonly Cost[];
  /** Bytes on the wire, from one more run through a counting relay. */
  readonly traffic: { readonly down: number; readonly up: number };
}

const megabytes = (bytes: number): string =>
  Number.isNaN(bytes) ? '–' : (bytes / 1e6).toFixed(bytes < 1e6 ? 3 : 1);

function middle(result: Result, key: keyof Cost): number {
  return median(result.costs.map((cost) => cost[key]));
}

/** One line for each result; ratios are to the case named `peer` on the same image. */
export function table(results: readonly Result[], peer: string | undefined): string {
  const lines = results.map((result) => {
    const base = results.find((other) => other.image === result.image && other.case === peer);
    const ratio = (key: keyof Cost): string =>
      base ? (middle(result, key) / middle(base, key)).toFixed(3) : '–';
    return [
      result.image,
      result.case,
      middle(result, 'wall').toFixed(3),
      middle(result, 'cpu').toFixed(3),
      ratio('wall'),
      ratio('cpu'),
      (middle(result, 'peak') / 1e6).toFixed(0),
      megabytes(result.traffic.down),
      megabytes(result.traffic.up),
      megabytes(middle(result, 'left')),
    ];
  });
  const head = [
    'image',
    'case',
    'wall s',
    'cpu s',
    'wall ratio',
    'cpu ratio',
    'peak MB',
    'down MB',
    'up MB',
    'left MB',
  ];
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
