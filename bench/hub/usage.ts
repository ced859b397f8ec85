import { readdir, readFile } from 'node:fs/promises';

/** What the hub has done and used since its start. */
export interface Usage {
  /** Its requests to the API server, by method. */
  readonly requests: Readonly<Record<string, number>>;
  /** By controller. */
  readonly reconciles: Readonly<Record<string, number>>;
  /** Seconds of CPU of every process of the bench, by the name of its program. */
  readonly cpu: Readonly<Record<string, number>>;
}

/** A hub as a process of its own. */
export interface Hub {
  readonly pid: number;
  /** URL of its metrics. */
  readonly metrics: string;
}

/** Reads what the hub says, and what the kernel says of it and of everything else that this process started. */
export async function usageOf(hub: Hub): Promise<Usage> {
  const body = await (await fetch(hub.metrics)).text();
  const requests: Record<string, number> = {};
  for (const [, labels = '', value] of body.matchAll(/^rest_client_requests_total\{(.*)\} (\d+)$/gm)) {
    const method = /method="([A-Z]+)"/.exec(labels)?.[1] ?? '';
    requests[method] = (requests[method] ?? 0) + Number(value);
  }
  const reconciles: Record<string, number> = {};
  for (const [, labels = '', value] of body.matchAll(
    /^controller_runtime_reconcile_total\{(.*)\} (\d+)$/gm,
  )) {
    const controller = /controller="([^"]+)"/.exec(labels)?.[1] ?? '';
    reconciles[controller] = (reconciles[controller] ?? 0) + Number(value);
  }
  return { requests, reconciles, cpu: await cpuOf(hub) };
}

/** Describes how much was done between two looks, by what. */
export function describeCounts(before: Counts, after: Counts): string {
  return describe(before, after, (count) => String(count));
}

/** Describes the seconds of CPU between two looks, by program. */
export function describeCpu(before: Usage, after: Usage): string {
  return describe(before.cpu, after.cpu, (seconds) => `${seconds.toFixed(1)} s`);
}

/** Returns the resident set of a process, and its peak. */
export async function memoryOf({ pid }: Hub): Promise<string> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const megabytes = (field: string): string =>
    `${Math.round(Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) / 1000)} MB`;
  return `${megabytes('VmRSS')} resident, ${megabytes('VmHWM')} at most`;
}

/** Counts by name. */
export type Counts = Readonly<Record<string, number>>;

function describe(before: Counts, after: Counts, format: (difference: number) => string): string {
  return Object.entries(after)
    .map(([name, count]) => `${format(count - (before[name] ?? 0))} ${name}`)
    .join(', ');
}

async function cpuOf(hub: Hub): Promise<Record<string, number>> {
  const seconds: Record<string, number> = {};
  for (const entry of await readdir('/proc')) {
    const stat = /^\d+$/.test(entry) ? await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '') : '';
    const [, name = '', rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(stat) ?? [];
    const fields = rest.split(' ');
    const [pid, parent] = [Number(entry), Number(fields[1])];
    if (pid !== process.pid && parent !== process.pid) continue;
    const who = pid === hub.pid ? 'hub' : pid === process.pid ? 'bench' : name;
    // By a kernel that counts hundredths.
    seconds[who] = (seconds[who] ?? 0) + (Number(fields[11]) + Number(fields[12])) / 100;
  }
  return seconds;
}
