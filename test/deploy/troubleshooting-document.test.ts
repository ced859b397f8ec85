import { execFile } from 'node:child_process';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../src/shared/temporary.ts';
import { operatorProgram } from '../controller/operator/start-operator.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../support/api-server.ts';
import { installCustomResources, installDefinitions, type Definition } from '../support/custom-resources.ts';
import { readDefinitions } from '../support/hub/crds.ts';
import { describeWith, requireProgram } from '../support/programs.ts';
import manifest from '../../package.json' with { type: 'json' };
import { deployDirectory, run } from './manifests.ts';

const text = await readFile(fileURLToPath(new URL('../../docs/troubleshooting.md', import.meta.url)), 'utf8');
const blocks = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)];
const blocksOf = (language: string): string[][] =>
  blocks.filter(([, name]) => name === language).map(([, , commands = '']) => commands.trim().split('\n'));
/** Of the documents and of ours: they need oc, and pods. */
const onOpenShift = blocksOf('sh');
const [gathering = [], logs = []] = blocksOf('');

describeWith([...apiServerPrograms, 'bash', 'kubectl'], 'docs/troubleshooting.md', () => {
  let api: ApiServer;
  let directory: TemporaryDirectory;
  beforeAll(async () => {
    api = await startApiServer();
    directory = await createTemporaryDirectory();
    await installCustomResources(await api.client());
    const bin = join(directory.path, 'bin');
    await mkdir(bin);
    await symlink(operatorProgram, join(bin, 'kmm-operator'));
    for (const name of ['kubectl', 'oc']) await symlink(requireProgram('kubectl'), join(bin, name));
    for (const overlay of ['openshift', 'hub-openshift']) {
      const rendered = await run('kubectl', ['kustomize', `${deployDirectory}overlays/${overlay}`]);
      const items = parseAllDocuments(rendered)
        .map((document) => document.toJS() as { kind: string; metadata: { namespace?: string } })
        .filter(({ kind }) => ['Namespace', 'Deployment'].includes(kind));
      const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
      await run('kubectl', ['--kubeconfig', api.kubeconfig, 'apply', '--server-side', '-f', '-'], list);
    }
  });
  afterAll(async () => {
    await api?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  const shell = async (command: string): Promise<string> => {
    const path = `${join(directory.path, 'bin')}:${join(process.execPath, '..')}:${process.env['PATH'] ?? ''}`;
    const env = { PATH: path, HOME: directory.path, KUBECONFIG: api.kubeconfig };
    return (await promisify(execFile)(requireProgram('bash'), ['-c', command], { cwd: directory.path, env })).stdout;
  };

  it.each(gathering)('has a command that works: %s', async (command) => {
    expect(await shell(command)).toContain(command.startsWith('cat ') ? '# Summary' : '');
  });

  it('has no other commands than these and those that need pods', () => {
    expect([blocksOf('').length, onOpenShift.length]).toEqual([2, 2]);
    expect(logs.every((command) => command.startsWith('kubectl logs '))).toBe(true);
  });

  it.each(onOpenShift)('finds the image as the documents do: %s', async (find, use) => {
    const image = await shell(`${find}; printf %s "$MUST_GATHER_IMAGE"`);
    expect(image).toBe(`ghcr.io/kmm-sign/kmm-sign:${manifest.version}`);
    expect(use).toMatch(/^oc adm must-gather --image="\$\{MUST_GATHER_IMAGE\}" -- \/usr\/bin\/gather(?: -u)?$/);
  });

  it.each(['operator', 'hub'])('has a support bundle that troubleshoot.sh takes: %s', async (name) => {
    // A type that only troubleshoot.sh's own program knows.
    const definition = JSON.stringify(readDefinitions('troubleshoot-crds'));
    const known = definition.replaceAll('"type":"BoolString"', '"x-kubernetes-preserve-unknown-fields":true');
    await installDefinitions(await api.client(), JSON.parse(known) as Definition[]);
    const file = join(deployDirectory, 'support-bundle', `${name}.yaml`);
    const args = ['apply', '--server-side', '--validate=strict', '--namespace=default', '--filename', file];
    expect(await run('kubectl', ['--kubeconfig', api.kubeconfig, ...args])).toContain('serverside-applied');
    const copy = join(directory.path, `wrong-${name}.yaml`);
    await writeFile(copy, (await readFile(file, 'utf8')).replace('collectorName', 'collectionName'));
    await expect(run('kubectl', ['--kubeconfig', api.kubeconfig, ...args.slice(0, -1), copy])).rejects.toThrow(
      'collectionName',
    );
  });
});
