import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { findOutdatedDefinitions } from '../../src/controller/kmm-migration/definitions.ts';
import { modules } from '../../src/controller/observe/cluster/resources.ts';
import { createTemporaryDirectory } from '../../src/shared/temporary.ts';
import { moduleDefinitionOfKmm } from '../controller/kmm-migration/definition-of-kmm.ts';
import { createNamespace } from '../controller/module/cluster-objects.ts';
import { apiServerPrograms, startApiServer } from '../support/api-server.ts';
import { installDefinitions } from '../support/custom-resources.ts';
import { describeWith } from '../support/programs.ts';
import { prepareShell } from './document-shell.ts';

const text = await readFile(new URL('../../docs/migrating-from-kmm.md', import.meta.url), 'utf8');
/** No controller runs here, so nothing becomes ready. */
const waits = 'rollout status';

/** The commands of a section. */
function commandsOf(heading: string): string[] {
  const [, section = ''] = text.split(`## ${heading}\n`);
  return [...(section.split(/^## /m)[0] ?? '').matchAll(/^ *```\n(.*?)^ *```$/gms)]
    .flatMap(([, commands = '']) => commands.trim().split('\n'))
    .map((command) => command.trim())
    .filter((command) => !command.includes(waits));
}

describeWith([...apiServerPrograms, 'kubectl', 'helm'], 'docs/migrating-from-kmm.md', () => {
  it('leads from KMM to this operator and back, step by step, and every Module stays', async () => {
    await using api = await startApiServer();
    await using directory = await createTemporaryDirectory();
    const client = await api.client();
    await installDefinitions(client, [moduleDefinitionOfKmm()]);
    for (const name of ['drivers', 'kmm-operator-system']) await createNamespace(client, name);
    const key = { namespace: 'drivers', name: 'driver' };
    const container = {
      modprobe: { moduleName: 'hello' },
      kernelMappings: [{ regexp: '.', containerImage: 'r.example/driver:1' }],
    };
    const spec = { moduleLoader: { container }, selector: { gpu: 'yes' } };
    const finalizers = ['kmm.node.kubernetes.io/module-finalizer'];
    const { metadata } = await client.create(modules, { metadata: { ...key, finalizers }, spec });
    const shell = await prepareShell(directory.path, api.kubeconfig);
    const deployments = 'kubectl --namespace kmm-operator-system get deployments --output name';
    await shell(
      'kubectl --namespace kmm-operator-system create deployment kmm-operator-controller-manager --image kmm',
    );

    const steps = commandsOf('Step by step');
    expect(steps.length).toBeGreaterThanOrEqual(6);
    // The shell throws with what a command said when it fails.
    for (const command of steps) await shell(command);
    expect(await shell(deployments)).toBe(
      'deployment.apps/kmm-operator-controller\ndeployment.apps/kmm-operator-webhook\n',
    );
    expect(await findOutdatedDefinitions(client, 'cluster')).toEqual([]);

    for (const command of commandsOf('The way back')) await shell(command);
    expect(await shell(deployments)).toBe('');
    expect((await client.get(modules, key)).metadata).toMatchObject({ uid: metadata.uid, finalizers });
  });
});
