/** Measures the hub's operator: a real API server with clusters that are objects only, whose agents and Jobs are played. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createTemporaryDirectory } from '../src/shared/temporary.ts';
import { hubNamespace } from '../test/controller/hub/hub-world.ts';
import { createLoadFleet, type LoadFleet } from '../test/controller/hub/system/load-fleet.ts';
import { describeCpu, describeCounts, memoryOf, usageOf, type Hub } from './hub/usage.ts';
import { freePort, startProcess, type RunningProcess } from '../test/support/processes.ts';

const usage =
  'npm run bench:hub -- [--clusters 2000] [--modules 50] [--kernels 40] [--drivers 40] [--groups 10] [--jobs 50]';

const text = (value: string) => ({ type: 'string', default: value }) as const;
const { values: options } = parseArgs({
  options: {
    clusters: text('2000'),
    modules: text('50'),
    kernels: text('40'),
    drivers: text('40'),
    groups: text('10'),
    jobs: text('50'),
    rest: text('30'),
    help: { type: 'boolean' },
  },
});

if (options.help) console.log(usage);
else await main();

/** The operator, as users run it. */
interface Operator extends Hub {
  readonly process: RunningProcess;
}

/** Something that happens to the fleet, and how many pieces of work it is. */
interface Phase {
  readonly work: () => Promise<void>;
  readonly pieces: number;
}

async function main(): Promise<void> {
  const { clusters, modules, kernels, drivers, groups } = options;
  process.stderr.write('filling the hub\n');
  await using fleet = await createLoadFleet({
    clusters: Number(clusters),
    modules: Number(modules),
    kernels: Number(kernels),
    drivers: Number(drivers),
    groups: Number(groups),
  });
  await using directory = await createTemporaryDirectory();
  const operator = await startOperator(fleet, directory.path);
  try {
    const rows = await measure(fleet, operator);
    const table = rows.map(([what, value]) => `| ${what} | ${value} |`);
    console.log(['| what | measured |', '| --- | --- |', ...table].join('\n'));
  } finally {
    await operator.process.stop('SIGKILL');
  }
}

async function measure(fleet: LoadFleet, operator: Operator): Promise<[string, string][]> {
  const { clusters, modules, kernels } = options;
  const rows: [string, string][] = [
    ['clusters, ManagedClusterModules, kernels', `${clusters}, ${modules}, ${kernels}`],
    ['ManifestWorks, distinct pieces of work', `${fleet.works}, ${fleet.distinctWork}`],
  ];
  const phase = async (name: string, { work, pieces }: Phase): Promise<void> => {
    process.stderr.write(`${name}\n`);
    const [before, jobs] = [await usageOf(operator), fleet.jobs().length];
    const writes = fleet.workWrites();
    const seconds = await until(fleet, operator, work);
    await quiet(operator);
    const after = await usageOf(operator);
    const made = fleet.jobs().slice(jobs);
    const written = fleet.workWrites() - writes;
    check(`${name}: Jobs`, { found: made.length, expected: pieces });
    check(`${name}: distinct Jobs`, { found: new Set(made).size, expected: pieces });
    check(`${name}: writes of ManifestWorks`, { found: written, expected: fleet.works });
    check(`${name}: ManifestWorks that named a tag`, { found: fleet.tagged().length, expected: 0 });
    rows.push(
      [`${name}: time`, `${seconds.toFixed(1)} s`],
      [`${name}: Jobs`, `${made.length}, ${new Set(made).size} distinct`],
      [`${name}: writes of ManifestWorks`, `${written}`],
      [`${name}: calls`, describeCounts(before.requests, after.requests)],
      [`${name}: reconciles`, describeCounts(before.reconciles, after.reconciles)],
      [`${name}: CPU`, describeCpu(before, after)],
      [`${name}: memory`, await memoryOf(operator)],
    );
  };
  await phase('first rollout', { work: () => fleet.createModules(), pieces: fleet.distinctWork });
  const before = await usageOf(operator);
  await sleep(Number(options.rest) * 1000);
  rows.push([
    `${options.rest} s of rest: calls`,
    describeCounts(before.requests, (await usageOf(operator)).requests),
  ]);
  await phase('kernel upgrade of all clusters', {
    work: () => fleet.upgrade(),
    pieces: fleet.distinctWorkOfKernel,
  });
  return rows;
}

/** What has to be so, however large the fleet. */
function check(what: string, { found, expected }: { found: number; expected: number }): void {
  if (found === expected) return;
  console.error(`${what}: ${found}, and ${expected} are right`);
  process.exitCode = 1;
}

/** Seconds that work takes until every cluster is Ready with its kernel. */
async function until(
  fleet: LoadFleet,
  { process: hub }: Operator,
  work: () => Promise<void>,
): Promise<number> {
  const started = performance.now();
  await work();
  for (;;) {
    const { works, ready } = fleet.progress();
    process.stderr.write(`${works} works, ${ready} ready, ${fleet.jobs().length} Jobs\n`);
    if (hub.exited) throw new Error(`the hub ended: ${hub.output()}`);
    if (works === fleet.works && ready === fleet.works) return (performance.now() - started) / 1000;
    await sleep(1000);
  }
}

async function startOperator(fleet: LoadFleet, directory: string): Promise<Operator> {
  const port = await freePort();
  const config = join(directory, 'config.yaml');
  const metrics = `{ bindAddress: '127.0.0.1:${port}', secureServing: false, enableAuthnAuthz: false }`;
  await writeFile(
    config,
    `{ healthProbeBindAddress: '0', metrics: ${metrics}, hub: { maxConcurrentJobs: ${options.jobs} } }`,
  );
  const program = fileURLToPath(new URL('../bin/kmm-operator.js', import.meta.url));
  const { kubeconfig } = fleet.world.jobs.api;
  const started = startProcess(
    process.execPath,
    [program, 'hub', '--config', config, '--kubeconfig', kubeconfig, '--log-level=error'],
    {
      log: join(directory, 'operator.out'),
      env: { OPERATOR_NAMESPACE: hubNamespace, RELATED_IMAGE_SIGN: 'ghcr.io/kmm-sign/kmm-sign:bench' },
    },
  );
  const operator = { process: started, pid: started.pid, metrics: `http://127.0.0.1:${port}/metrics` };
  for (;;) {
    if (started.exited) throw new Error(`the operator did not start: ${started.output()}`);
    if (await usageOf(operator).then(Boolean, () => false)) return operator;
    await sleep(100);
  }
}

/** Waits until nothing more is asked. */
async function quiet(operator: Operator): Promise<void> {
  let before = '';
  for (;;) {
    // The Lease is renewed all the time, by PUT.
    const { reconciles, requests } = await usageOf(operator);
    const now = JSON.stringify([reconciles, requests['PATCH'], requests['POST'], requests['DELETE']]);
    if (now === before) return;
    before = now;
    await sleep(3000);
  }
}
