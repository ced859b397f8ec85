import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  cacheDirectory,
  requireProgram,
  sortMissingPrograms,
  type ProgramName,
} from '../../support/programs.ts';
import { operatorWorldPrograms } from '../operator-world.ts';

const assetsScript = fileURLToPath(new URL('../../../scripts/assets.js', import.meta.url));

/** What this machine lacks for a local cluster, and nobody but its user can get: a line for each, with what to do. */
export async function missingRequirements(): Promise<string[]> {
  const { packages, others } = sortMissingPrograms([
    ...operatorWorldPrograms,
    ...(missingAssets().length === 0 ? [] : assetsPrograms),
  ]);
  const install = `Programs are missing: apt-get install --no-install-recommends ${packages.join(' ')}`;
  const missing = [
    ...(process.getuid?.() === 0 ? [] : [rootIsMissing]),
    ...(packages.length === 0 ? [] : [install]),
    ...others,
  ];
  return missing.length > 0 ? missing : containersAreMissing();
}

const rootIsMissing = `root is missing: the kubelet runs containers. \
sudo env "PATH=$PATH" XDG_CACHE_HOME=${dirname(cacheDirectory)} npm run local-cluster`;

/** What it takes to get the parts of Kubernetes. */
const assetsPrograms: readonly ProgramName[] = ['go', 'tar', 'busybox'];

/** Gets the parts of Kubernetes that are not here, with what they say on standard error. @throws Error when one cannot be got */
export async function getAssets(signal: AbortSignal): Promise<void> {
  const assets = missingAssets();
  if (assets.length === 0) return;
  const script = spawn(process.execPath, [assetsScript, ...assets], { stdio: ['ignore', 2, 2], signal });
  const [code] = await once(script, 'exit');
  if (code !== 0) throw new Error(`npm run assets -- ${assets.join(' ')} failed`);
}

/** Root of a container may not make containers. */
async function containersAreMissing(): Promise<string[]> {
  try {
    await promisify(execFile)(requireProgram('bwrap'), ['--dev-bind', '/', '/', '--unshare-pid', 'true']);
    return [];
  } catch (error) {
    return [`containers cannot be made here: ${String(error)}`];
  }
}

function missingAssets(): readonly ProgramName[] {
  return sortMissingPrograms(operatorWorldPrograms).assets;
}
