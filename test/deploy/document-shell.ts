import { execFile } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { requireProgram } from '../support/programs.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** A shell in a copy of what an administrator has: the folder deploy/ and the programs. */
export async function prepareShell(
  directory: string,
  kubeconfig: string,
): Promise<(command: string) => Promise<string>> {
  await promisify(execFile)('cp', ['-r', join(root, 'deploy'), directory]);
  await writeFile(join(directory, 'controller_config.yaml'), 'job:\n  gcDelay: 1h\n');
  const bin = join(directory, 'bin');
  await mkdir(bin);
  await symlink(requireProgram('helm'), join(bin, 'helm'));
  // oc knows kubectl's commands.
  for (const name of ['kubectl', 'oc']) await symlink(requireProgram('kubectl'), join(bin, name));
  const env = { PATH: `${bin}:${process.env['PATH'] ?? ''}`, HOME: directory, KUBECONFIG: kubeconfig };
  return async (command) => {
    // No controller removes a namespace here, so nothing waits for its end.
    const filled = command
      .replaceAll('NAMESPACE', 'drivers')
      .replaceAll('OTHER', 'other')
      .replaceAll('ACCOUNT', 'prometheus')
      .replace(/^kubectl delete/, 'kubectl delete --wait=false');
    const options = { cwd: directory, env };
    return (await promisify(execFile)(requireProgram('bash'), ['-c', filled], options)).stdout;
  };
}
