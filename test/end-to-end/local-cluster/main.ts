/** Takes a newcomer from nothing to a signed module: `npm run local-cluster`. */
import { once } from 'node:events';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { requireProgram } from '../../support/programs.ts';
import { getAssets, missingRequirements } from './requirements.ts';
import { signModule, startLocalCluster, type LocalCluster } from './story.ts';

const usage = `npm run local-cluster [-- --keep]

Starts a cluster on this machine, has the operator build and sign a kernel module there, and removes it all.
With --keep it stays until Ctrl-C.`;

const { values: options } = parseArgs({ options: { keep: { type: 'boolean' }, help: { type: 'boolean' } } });

if (options.help === true) console.log(usage);
// Servers that did not come up all the way would keep this process.
else process.exit(await main({ keep: options.keep === true }));

async function main({ keep }: { readonly keep: boolean }): Promise<number> {
  const missing = await missingRequirements();
  if (missing.length > 0) {
    for (const line of missing) console.error(line);
    return 1;
  }
  const interrupted = new AbortController();
  // More than once: a Ctrl-C comes from the terminal, and again from npm.
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => interrupted.abort());
  try {
    await run(keep, interrupted.signal);
    return 0;
  } catch (error) {
    if (interrupted.signal.aborted) return 130;
    console.error(error instanceof Error ? error.message : error);
    return 1;
  }
}

async function run(keep: boolean, signal: AbortSignal): Promise<void> {
  await getAssets(signal);
  const story = { tell: (line: string) => console.log(line), signal };
  await using cluster = await startLocalCluster(story);
  signal.throwIfAborted();
  tellAccess(cluster);
  await signModule(cluster, story);
  if (keep) {
    console.log('\nThe cluster stays until Ctrl-C.');
    if (!signal.aborted) await once(signal, 'abort');
  }
  console.log('\nRemoving the cluster');
}

function tellAccess({ env }: LocalCluster): void {
  const path = `${dirname(requireProgram('kubectl'))}:$PATH`;
  console.log();
  for (const [name, value] of Object.entries({ PATH: path, ...env })) console.log(`export ${name}=${value}`);
}
