/**
 * Measures kmm-sign, and any peer named on the command line, on the images of docs/performance.md.
 * Every round runs each case once, turn about; the registry's storage is put back after every run.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { createTemporaryDirectory } from '../src/shared/temporary.ts';
import { type Case, ownCases, peerCase, type Subject } from './cases.ts';
import { type BenchImage, makeImages, storageDirectory } from './images.ts';
import { serverKey, signingKey } from './keys.ts';
import { type Cost, measure } from './measure.ts';
import { type Registry, restore, snapshot, startRegistry, warm } from './registry.ts';
import { startRelay } from './relay.ts';
import { type Result, table } from './table.ts';

const usage = `npm run bench -- [--images small,vendor] [--cases append,rewrite|none] [--rounds 5] [--json FILE]
              [--peer 'name=command with {source} {destination} {files} {key} {cert}']...`;

const { values: options } = parseArgs({
  options: {
    images: { type: 'string', default: 'small,vendor,deep,many' },
    cases: { type: 'string', default: ownCases.map(({ name }) => name).join(',') },
    rounds: { type: 'string', default: '5' },
    peer: { type: 'string', multiple: true, default: [] },
    json: { type: 'string' },
    help: { type: 'boolean' },
  },
});

if (options.help) {
  console.log(usage);
} else {
  await main();
}

async function main(): Promise<void> {
  const peers = options.peer.map(peerCase);
  const asked = options.cases.split(',');
  const cases = [...peers, ...ownCases.filter(({ name }) => asked.includes(name))];
  const results: Result[] = [];
  const images = await makeImages(options.images.split(','));
  await using registry = await startRegistry(storageDirectory());
  await using secure = await startRegistry(storageDirectory(), serverKey());
  await warm(registry.storage);
  for (const image of images) {
    const applicable = cases.filter((each) => each.image === undefined || each.image === image.name);
    results.push(...(await runImage(image, applicable, { registry, secure })));
  }
  console.log(table(results, peers[0]?.name));
  if (options.json) await writeFile(options.json, JSON.stringify({ schemaVersion: 1, results }, null, 2));
}

/** The registry, and another on the same storage that speaks TLS. */
interface Registries {
  readonly registry: Registry;
  readonly secure: Registry;
}

async function runImage(
  image: BenchImage,
  cases: readonly Case[],
  { registry, secure }: Registries,
): Promise<Result[]> {
  const costs = new Map<Case, Cost[]>(cases.map((each) => [each, []]));
  const kept = await snapshot(registry.storage);
  for (let round = 0; round < Number(options.rounds); round += 1) {
    for (const [each, measured] of costs) {
      const cost = await putBack(registry, kept, () =>
        runCase(each, subjectOf(image, registry.host, secure.host)),
      );
      measured.push(cost);
      process.stderr.write(`${image.name} ${each.name}: ${cost.wall.toFixed(2)} s\n`);
    }
  }
  const results: Result[] = [];
  for (const [each, measured] of costs) {
    const hosts = { counted: registry.host, secure: secure.host };
    const traffic =
      each.uncounted === true
        ? { down: Number.NaN, up: Number.NaN }
        : await putBack(registry, kept, () => countBytes(each, image, hosts));
    results.push({ image: image.name, case: each.name, costs: measured, traffic });
  }
  return results;
}

/** Runs something and then deletes what it left in the registry. */
async function putBack<T>(registry: Registry, kept: ReadonlySet<string>, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } finally {
    await restore(registry.storage, kept);
  }
}

async function runCase(each: Case, subject: Subject): Promise<Cost> {
  await using home = await createTemporaryDirectory();
  const environment = { XDG_CACHE_HOME: home.path };
  if (each.before) await measure(each.before(subject), environment);
  return await measure(each.command(subject), environment);
}

async function countBytes(
  each: Case,
  image: BenchImage,
  { counted, secure }: { readonly counted: string; readonly secure: string },
): Promise<Result['traffic']> {
  await using relay = await startRelay(counted);
  const subject = subjectOf(image, relay.host, secure);
  await using home = await createTemporaryDirectory();
  const environment = { XDG_CACHE_HOME: home.path };
  if (each.before) await measure(each.before(subject), environment);
  const [down, up] = [relay.down(), relay.up()];
  await measure(each.command(subject), environment);
  return { down: relay.down() - down, up: relay.up() - up };
}

function subjectOf(image: BenchImage, host: string, secureHost: string): Subject {
  return {
    source: `${host}/${image.repository}:${image.tag}`,
    secureSource: `${secureHost}/${image.repository}:${image.tag}`,
    authority: serverKey().cert,
    destination: `${host}/${image.repository}:signed`,
    elsewhere: `${host}/elsewhere/${image.name}:signed`,
    files: image.modules,
    ...signingKey(),
  };
}
