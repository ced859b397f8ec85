/**
 * Shows where the time of one run goes: phases by what the program reports, and for each thread the functions that it
 * was in.
 *
 *     npm run bench:profile -- [--image small] [--mode rewrite]
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { kmmSign } from './cases.ts';
import { makeImages, storageDirectory } from './images.ts';
import { signingKey } from './keys.ts';
import { restore, snapshot, startRegistry, warm } from './registry.ts';

/** The part of a CPU profile that is read. Times are in microseconds. */
interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Functions that are listed of each thread. */
const listed = 25;

const { values: options } = parseArgs({
  options: {
    image: { type: 'string', default: 'small' },
    mode: { type: 'string', default: 'rewrite' },
  },
});
const [image] = await makeImages([options.image]);
if (image === undefined) throw new Error('no image');
await using registry = await startRegistry(storageDirectory());
await warm(registry.storage);
const kept = await snapshot(registry.storage);
const directory = await mkdtemp(join(tmpdir(), 'kmm-sign-profile-'));
try {
  const place = `${registry.host}/${image.repository}`;
  const subject = {
    source: `${place}:${image.tag}`,
    destination: `${place}:profiled`,
    files: image.modules,
    ...signingKey(),
  };
  const [node = '', ...args] = kmmSign(subject, subject.destination, '--no-cache', '--mode', options.mode);
  const started = performance.now();
  const child = spawn(node, ['--cpu-prof', `--cpu-prof-dir=${directory}`, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const milliseconds = (): string => (performance.now() - started).toFixed(0).padStart(6);
  for await (const line of createInterface(child.stderr)) console.log(`${milliseconds()} ms  ${line}`);
  console.log(`${milliseconds()} ms  the end`);
  for (const name of (await readdir(directory)).toSorted()) {
    const profile = JSON.parse(await readFile(join(directory, name), 'utf8')) as Profile;
    console.log(`\n${name}\n${functions(profile).join('\n')}`);
  }
} finally {
  await restore(registry.storage, kept);
  await rm(directory, { recursive: true, force: true });
}

/** Lists the functions in which most of a thread's time was spent. */
function functions({ nodes, samples, timeDeltas }: Profile): string[] {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const times = new Map<string, number>();
  for (const [index, id] of samples.entries()) {
    const frame = frames.get(id);
    if (frame === undefined) continue;
    const { functionName, url, lineNumber } = frame;
    const name = `${functionName || '(anonymous)'} ${url.split('/').slice(-2).join('/')}:${lineNumber + 1}`;
    times.set(name, (times.get(name) ?? 0) + (timeDeltas[index] ?? 0));
  }
  const sorted = [...times].toSorted(([, a], [, b]) => b - a).slice(0, listed);
  return sorted.map(([name, time]) => `${(time / 1000).toFixed(1).padStart(9)} ms  ${name}`);
}
