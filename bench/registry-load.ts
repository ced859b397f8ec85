/** Measures the embedded registry beside others: large pushes and pulls, small pushes, memory. */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createTemporaryDirectory } from '../src/shared/temporary.ts';
import { freePort, startProcess } from '../test/support/processes.ts';
import { startTestRegistry, type RegistryKind } from '../test/support/registries.ts';
import { median } from './measure.ts';

const usage = `npm run bench:registry -- [--registries embedded,docker-registry,distribution,zot] [--rounds 3] [--megabytes 256]
Needs curl, Debian's docker-registry, and distribution and zot from npm run assets.`;

const { values: options } = parseArgs({
  options: {
    registries: { type: 'string', default: 'embedded,docker-registry,distribution,zot' },
    rounds: { type: 'string', default: '3' },
    megabytes: { type: 'string', default: '256' },
    help: { type: 'boolean' },
  },
});

const clients = 8;
/** Small blobs that each client pushes. */
const smallBlobs = 100;

const columns = {
  push: 'push MB/s',
  pull1: 'pull MB/s, 1 client',
  pull8: `pull MB/s, ${clients} clients`,
  small: 'small pushes/s',
  cpu: 'CPU s of the registry',
  peak: 'peak MB',
} as const;
type Figures = Record<keyof typeof columns, number>;

interface Running {
  readonly host: string;
  readonly pid: number;
  stop(): Promise<void>;
}

if (options.help) console.log(usage);
else await main();

async function main(): Promise<void> {
  const kinds = options.registries.split(',') as RegistryKind[];
  const results = new Map<string, Figures[]>(kinds.map((kind) => [kind, []]));
  await using directory = await createTemporaryDirectory();
  for (let round = 1; round <= Number(options.rounds); round += 1) {
    for (const kind of kinds) {
      process.stderr.write(`round ${round}: ${kind}\n`);
      results.get(kind)?.push(await measureRegistry(kind, join(directory.path, `${kind}-${round}`)));
    }
  }
  const keys = Object.keys(columns) as (keyof Figures)[];
  console.log(row(['registry', ...Object.values(columns)]));
  console.log(row(['---', ...keys.map(() => '---')]));
  for (const [kind, figures] of results) {
    const middle = keys.map((key) => median(figures.map((one) => one[key])));
    console.log(row([kind, ...middle.map((value) => value.toFixed(value < 10 ? 1 : 0))]));
  }
}

function row(cells: readonly (string | number)[]): string {
  return `| ${cells.join(' | ')} |`;
}

async function measureRegistry(kind: RegistryKind, root: string): Promise<Figures> {
  const registry = await start(kind, root);
  try {
    const bytes = Number(options.megabytes) * 1_000_000;
    const content = randomBytes(bytes);
    const file = `${root}.blob`;
    await writeFile(file, content);
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    const blobs = `http://${registry.host}/v2/bench/blobs`;
    const push = await seconds(() => upload(`${blobs}/uploads/`, digest, file));
    const pull = (): Promise<void> => curl(['--output', '/dev/null', `${blobs}/${digest}`]);
    // Once, so that no measured pull reads from the disk.
    await pull();
    const pull1 = await seconds(pull);
    const pull8 = await seconds(() => Promise.all(Array.from({ length: clients }, pull)));
    const small = await seconds(() =>
      Promise.all(Array.from({ length: clients }, () => pushSmall(registry))),
    );
    await rm(file);
    return {
      push: bytes / push / 1e6,
      pull1: bytes / pull1 / 1e6,
      pull8: (clients * bytes) / pull8 / 1e6,
      small: (clients * smallBlobs) / small,
      ...(await usageOf(registry.pid)),
    };
  } finally {
    await registry.stop();
    await rm(root, { recursive: true, force: true });
  }
}

/** Starts a registry as a process of its own; ours as users run it. */
async function start(kind: RegistryKind, root: string): Promise<Running> {
  if (kind !== 'embedded') {
    const registry = await startTestRegistry(kind);
    return { host: registry.host, pid: registry.process?.pid ?? 0, stop: () => registry.close() };
  }
  const host = `127.0.0.1:${await freePort()}`;
  const program = fileURLToPath(new URL('../bin/kmm-sign.js', import.meta.url));
  const child = startProcess(process.execPath, [program, 'registry', '--root', root, '--listen', host], {
    log: `${root}.log`,
  });
  while (!child.exited && !(await fetch(`http://${host}/v2/`).then(Boolean, () => false))) await sleep(25);
  return { host, pid: child.pid, stop: () => child.stop() };
}

async function upload(uploads: string, digest: string, file: string): Promise<void> {
  const session = await fetch(uploads, { method: 'POST' });
  const location = new URL(session.headers.get('location') ?? '', uploads);
  location.searchParams.set('digest', digest);
  const type = 'content-type: application/octet-stream';
  await curl(['--upload-file', file, '--header', type, '--output', '/dev/null', location.href]);
}

async function pushSmall({ host }: Running): Promise<void> {
  for (let index = 0; index < smallBlobs; index += 1) {
    const body = randomBytes(1024);
    const uploads = `http://${host}/v2/small/blobs/uploads/`;
    const session = await fetch(uploads, { method: 'POST' });
    const location = new URL(session.headers.get('location') ?? '', uploads);
    location.searchParams.set('digest', `sha256:${createHash('sha256').update(body).digest('hex')}`);
    const headers = { 'content-type': 'application/octet-stream' };
    const response = await fetch(location, { method: 'PUT', headers, body });
    if (response.status !== 201) throw new Error(`a small push ended with ${response.status}`);
  }
}

async function curl(args: readonly string[]): Promise<void> {
  const child = spawn('curl', ['--silent', '--fail', ...args], { stdio: 'inherit' });
  const code = await new Promise((resolve) => void child.once('close', resolve));
  if (code !== 0) throw new Error(`curl ended with ${String(code)}`);
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

async function usageOf(pid: number): Promise<Pick<Figures, 'cpu' | 'peak'>> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ').at(-1)?.split(' ') ?? [];
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const peak = Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1000;
  return { cpu: (Number(fields[11]) + Number(fields[12])) / 100, peak };
}
