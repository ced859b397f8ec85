/** Measures the Module controller in a large cluster: a real API server with nodes and Modules that are objects only. */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createLoadCluster } from './operator/cluster.ts';
import {
  callsOf,
  startOperatorProcess,
  type OperatorProcess,
  type OperatorReport,
} from './operator/report.ts';

const usage = 'npm run bench:operator -- [--nodes 5000] [--modules 200] [--rest SECONDS]';

const { values: options } = parseArgs({
  options: {
    nodes: { type: 'string', default: '5000' },
    modules: { type: 'string', default: '200' },
    rest: { type: 'string', default: '30' },
    help: { type: 'boolean' },
  },
});

if (options.help) console.log(usage);
else await main({ nodes: Number(options.nodes), modules: Number(options.modules) });

async function main(size: { readonly nodes: number; readonly modules: number }): Promise<void> {
  process.stderr.write('filling the cluster\n');
  await using cluster = await createLoadCluster(size);
  await using operator = startOperatorProcess(cluster.api.kubeconfig);
  const rows: [string, string][] = [
    ['nodes, Modules, DaemonSets', `${size.nodes}, ${size.modules}, ${cluster.daemonSets}`],
  ];

  process.stderr.write('waiting for all Modules\n');
  const converged = await seconds(async () => {
    for (;;) {
      const { ready, daemonSets } = await cluster.progress();
      if (ready === size.modules && daemonSets === cluster.daemonSets) return;
      await sleep(250);
    }
  });
  await quiet(operator);
  const start = await operator.forget();
  rows.push(
    ['start until all Modules are ready', `${converged.toFixed(1)} s`],
    ['calls until then', describeCalls(start)],
    ['reconciles until then', describeReconciles(start)],
    ['memory (resident)', `${(start.memory / 1e6).toFixed(0)} MB`],
  );

  process.stderr.write('at rest\n');
  await sleep(Number(options.rest) * 1000);
  const rest = await operator.forget();
  rows.push([
    `calls in ${options.rest} s of rest`,
    `${callsOf(rest)} (and ${rest.calls['WATCH'] ?? 0} watches begun)`,
  ]);

  process.stderr.write('heartbeats\n');
  const beating = Math.min(500, size.nodes);
  await cluster.heartbeats(beating);
  await cluster.addNode('marker');
  while ((await operator.report()).nodes <= size.nodes) await sleep(50);
  await quiet(operator);
  const beats = await operator.forget();
  rows.push([
    `after heartbeats of ${beating} nodes`,
    `${callsOf(beats)} calls, ${beats.reconciles.length} reconciles`,
  ]);

  process.stderr.write('a new kernel\n');
  let count = 0;
  const follows = await seconds(async () => {
    count = await cluster.changeKernel();
  });
  await quiet(operator);
  const changed = await operator.forget();
  rows.push(
    ['new kernel on a node until its DaemonSets are there', `${follows.toFixed(2)} s for ${count} Modules`],
    ['calls for that', describeCalls(changed)],
    ['reconciles for that', describeReconciles(changed)],
    ['memory at the end', `${(changed.memory / 1e6).toFixed(0)} MB`],
  );
  console.log(
    ['| what | measured |', '| --- | --- |', ...rows.map(([what, value]) => `| ${what} | ${value} |`)].join(
      '\n',
    ),
  );
}

/** Waits until nothing is worked on. */
async function quiet(operator: OperatorProcess): Promise<void> {
  let calls = -1;
  for (;;) {
    const report = await operator.report();
    if (report.busy === 0 && callsOf(report) === calls) return;
    calls = callsOf(report);
    await sleep(500);
  }
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

function describeCalls(report: OperatorReport): string {
  return Object.entries(report.calls)
    .map(([verb, count]) => `${count} ${verb}`)
    .join(', ');
}

function describeReconciles({ reconciles, errors }: OperatorReport): string {
  const sorted = reconciles.toSorted((a, b) => a - b);
  const at = (share: number): string =>
    `${((sorted[Math.floor((sorted.length - 1) * share)] ?? 0) * 1000).toFixed(1)} ms`;
  return `${sorted.length}, p50 ${at(0.5)}, p99 ${at(0.99)}, ${errors} failed`;
}
