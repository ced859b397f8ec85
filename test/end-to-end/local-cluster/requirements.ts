import { execFile } from 'node:child_process';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { cacheDirectory, missingPrograms, requireProgram } from '../../support/programs.ts';
import { operatorWorldPrograms } from '../operator-world.ts';

/** What this machine lacks for a local cluster: a sentence for each, with what to do. */
export async function missingRequirements(): Promise<string[]> {
  const missing = [...new Set(missingPrograms(operatorWorldPrograms))];
  if (process.getuid?.() !== 0) return [rootIsMissing, ...missing];
  return missing.length > 0 ? missing : containersAreMissing();
}

const rootIsMissing = `root is missing: the kubelet runs containers. \
sudo env "PATH=$PATH" XDG_CACHE_HOME=${dirname(cacheDirectory)} npm run local-cluster`;

/** Root of a container may not make containers. */
async function containersAreMissing(): Promise<string[]> {
  try {
    await promisify(execFile)(requireProgram('bwrap'), ['--dev-bind', '/', '/', '--unshare-pid', 'true']);
    return [];
  } catch (error) {
    return [`containers cannot be made here: ${String(error)}`];
  }
}
