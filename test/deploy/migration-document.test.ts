import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { findOutdatedDefinitions } from '../../src/controller/kmm-migration/definitions.ts';
import { modules } from '../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { createTemporaryDirectory } from '../../src/shared/temporary.ts';
import { moduleDefinitionOfKmm } from '../controller/kmm-migration/definition-of-kmm.ts';
import { createNamespace } from '../controller/module/cluster-objects.ts';
import { apiServerPrograms, startApiServer } from '../support/api-server.ts';
import { installDefinitions } from '../support/custom-resources.ts';
import { readDefinitions } from '../support/hub/crds.ts';
import { describeWith } from '../support/programs.ts';
import { prepareShell } from './document-shell.ts';

const text = await readFile(new URL('../../docs/migrating-from-kmm.md', import.meta.url), 'utf8');
const headings = [...text.matchAll(/^## (.*)$/gm)].map(([, heading = '']) => heading);

/** The commands of a section. */
function commandsOf(heading: string): string[] {
  const [, section = ''] = text.split(`## ${heading}\n`);
  return [...(section.split(/^## /m)[0] ?? '').matchAll(/^ *```\n(.*?)^ *```$/gms)]
    .flatMap(([, commands = '']) => commands.trim().split('\n'))
    .map((command) => command.trim());
}

/** What KMM has left in a cluster, where it is, and what comes in its place. */
interface Journey {
  readonly namespace: string;
  /** What KMM runs as. */
  readonly deployments: readonly string[];
  readonly becomes: readonly string[];
  readonly definitions: 'cluster' | 'hub';
  readonly prepare?: (shell: (command: string) => Promise<string>, directory: string) => Promise<unknown>;
}

const operator = ['kmm-operator-controller', 'kmm-operator-webhook'];
const cluster = {
  namespace: 'kmm-operator-system',
  deployments: ['kmm-operator-controller-manager', 'kmm-operator-webhook-server'],
  becomes: operator,
  definitions: 'cluster',
} as const;

const journeys: Readonly<Record<string, Journey>> = {
  'Step by step': cluster,
  'With Helm': { ...cluster, deployments: [], prepare: installChartOfKmm },
  'On OpenShift': {
    ...cluster,
    namespace: 'openshift-kmm',
    prepare: (shell) => shell('oc create namespace openshift'),
  },
  'A hub': {
    ...cluster,
    deployments: ['kmm-operator-hub-controller-manager', 'kmm-operator-hub-webhook-server'],
    becomes: ['kmm-operator-hub-controller', 'kmm-operator-hub-webhook'],
    definitions: 'hub',
    prepare: (shell) =>
      shell('kubectl --namespace kmm-operator-system create secret generic signing --from-literal key=k'),
  },
  'Its spokes': cluster,
};

/** Installs a chart as KMM's: with the definition of Module among its templates, and its configuration. */
async function installChartOfKmm(shell: (command: string) => Promise<string>, directory: string): Promise<void> {
  const templates = join(directory, 'kmm', 'templates');
  await mkdir(templates, { recursive: true });
  await writeFile(join(directory, 'kmm', 'Chart.yaml'), 'apiVersion: v2\nname: kmm\nversion: 1.0.0\n');
  await shell(
    `kubectl --namespace kmm-operator-system create deployment kmm-operator-controller-manager --image kmm --dry-run=client --output yaml >${templates}/deployment.yaml`,
  );
  const configuration = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'kmm-operator-manager-config' } };
  await writeFile(join(templates, 'configuration.yaml'), JSON.stringify(configuration));
  await writeFile(join(templates, 'modules.yaml'), JSON.stringify(moduleDefinitionOfKmm()));
  await shell('kubectl delete customresourcedefinition modules.kmm.sigs.x-k8s.io');
  await shell('helm install RELEASE kmm --namespace kmm-operator-system');
}

/** Reports Deployments as rolled out, as their controller does: nothing runs pods here. */
async function rollOut(shell: (command: string) => Promise<string>, command: string): Promise<void> {
  const [, namespace = '', name = ''] = /--namespace (\S+) rollout status deployment\/(\S+)/.exec(command) ?? [];
  const counters = '"replicas":1,"readyReplicas":1,"updatedReplicas":1,"availableReplicas":1,"observedGeneration":9';
  await shell(
    `kubectl --namespace ${namespace} patch deployment ${name} --subresource status --type merge --patch '{"status":{${counters}}}'`,
  );
}

const key = { namespace: 'drivers', name: 'driver' };

async function createModule(client: ApiClient): Promise<string | undefined> {
  const container = {
    modprobe: { moduleName: 'hello' },
    kernelMappings: [{ regexp: '.', containerImage: 'r.example/driver:1' }],
  };
  const spec = { moduleLoader: { container }, selector: { gpu: 'yes' } };
  const finalizers = ['kmm.node.kubernetes.io/module-finalizer'];
  const metadata = { ...key, finalizers };
  return (await client.create(modules, { metadata, spec })).metadata.uid;
}

describeWith([...apiServerPrograms, 'kubectl', 'helm'], 'docs/migrating-from-kmm.md', () => {
  it('has no commands that are not tried', () => {
    const withCommands = headings.filter((heading) => commandsOf(heading).length > 0);
    expect(withCommands.toSorted()).toEqual([...Object.keys(journeys), 'The way back'].toSorted());
  });

  it.each(Object.entries(journeys))('leads from KMM to this operator, and every Module stays: %s', async (heading, journey) => {
    await using api = await startApiServer();
    await using directory = await createTemporaryDirectory();
    const client = await api.client();
    const { namespace, becomes, definitions } = journey;
    await installDefinitions(client, [
      moduleDefinitionOfKmm(),
      ...['operator-lifecycle-manager-crds', 'cluster-service-version-crds', 'ocm-crds'].flatMap(readDefinitions),
    ]);
    for (const name of ['drivers', namespace]) await createNamespace(client, name);
    const run = await prepareShell(directory.path, api.kubeconfig);
    const shell = (command: string): Promise<string> =>
      run(command.replaceAll('RELEASE', 'kmm').replace('secret NAME ', 'secret signing '));
    for (const name of journey.deployments) {
      await shell(`kubectl --namespace ${namespace} create deployment ${name} --image kmm`);
    }
    await journey.prepare?.(shell, directory.path);
    const uid = await createModule(client);

    // The shell throws with what a command said when it fails.
    for (const command of commandsOf(heading)) {
      const isRollout = command.includes('rollout status');
      if (isRollout) await rollOut(shell, command);
      expect(await shell(command)).toContain(isRollout ? 'successfully rolled out' : '');
    }
    const deployments = async (): Promise<string[]> =>
      (await shell('kubectl get deployments --all-namespaces --output name'))
        .split('\n')
        .filter((line) => line !== '')
        .toSorted();
    // OLM deletes what it has installed; it does not run here.
    const left = heading === 'On OpenShift' ? journey.deployments : [];
    const expected = [...becomes, ...left].map((name) => `deployment.apps/${name}`).toSorted();
    expect(await deployments()).toEqual(expected);
    // The API server publishes a definition's schema some moments after it has taken the definition.
    await expect.poll(() => findOutdatedDefinitions(client, definitions), { timeout: 30_000 }).toEqual([]);
    expect((await client.get(modules, key)).metadata.uid).toBe(uid);
    const signing = 'kubectl get secrets --all-namespaces --field-selector metadata.name=signing --output name';
    expect((await shell(signing)).trim().split('\n').filter((line) => line !== '')).toHaveLength(
      heading === 'A hub' ? 2 : 0,
    );

    const back = heading === 'Step by step' ? commandsOf('The way back') : [];
    for (const command of back) await shell(command);
    expect(await deployments()).toEqual(back.length === 0 ? expected : []);
    expect((await client.get(modules, key)).metadata.uid).toBe(uid);
  });
});
