import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { requireProgram } from '../../support/programs.ts';

const document = fileURLToPath(new URL('../../../docs/node-feature-discovery.md', import.meta.url));
const prefix = 'key.trust.kmm.sigs.x-k8s.io/';

/** Returns the label of nodes that trust the certificate in a folder, by the command of docs/node-feature-discovery.md. */
export async function documentedLabel(folder: string): Promise<string> {
  const [, command = ''] = /^```sh\n(.*?)^```$/ms.exec(await readFile(document, 'utf8')) ?? [];
  const options = { cwd: folder };
  const { stdout } = await promisify(execFile)(requireProgram('bash'), ['-c', command], options);
  return `${prefix}${stdout.trim()}`;
}

/** Returns the labels for the keys that a kernel reported to have loaded, by where it had them from. */
export function labelsOfLoadedKeys(kernelLog: string): Record<string, string> {
  const labels: Record<string, string> = {};
  let source = '';
  for (const line of kernelLog.split('\n')) {
    source = /Loading .*X\.509 certificate.*/.exec(line)?.[0] ?? source;
    const [, id] = /Loaded X\.509 cert '.*: ([0-9a-f]+)'/.exec(line) ?? [];
    if (id !== undefined) labels[`${prefix}${id}`] = source.endsWith('UEFI:db') ? 'platform' : 'true';
  }
  return labels;
}
