import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { manifestWorkLabels } from '../../src/controller/hub/work/manifest-work.ts';
import { createTemporaryDirectory } from '../../src/shared/temporary.ts';
import { apiServerPrograms, startApiServer } from '../support/api-server.ts';
import { prepareShell } from './document-shell.ts';
import { installDefinitions } from '../support/custom-resources.ts';
import { readDefinitions } from '../support/hub/crds.ts';
import { describeWith } from '../support/programs.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const text = await readFile(join(root, 'docs/install.md'), 'utf8');

/** The commands of each block, by `heading/number of the block below it`. */
const blocks = new Map<string, readonly string[]>(
  text.split(/^##+ /m).flatMap((section) => {
    const heading = section.split('\n')[0] ?? '';
    return [...section.matchAll(/^```\n(.*?)^```$/gms)].map(
      ([, commands = ''], index) => [`${heading}/${index}`, commands.trim().split('\n')] as const,
    );
  }),
);
const site = /^```yaml\n(.*?)^```$/ms.exec(text)?.[1] ?? '';

/** What one administrator does, one after the other, with a cluster of their own. */
const journeys: Readonly<Record<string, readonly string[]>> = {
  'an administrator with kustomize': [
    'With kustomize/0',
    'Privileged pods/0',
    'What Modules refer to/0',
    'Configuration/0',
    'Metrics and health/0',
    "The webhook's certificate/1",
    'Upgrading/0',
    'Removing it/0',
    'Removing it/2',
  ],
  'an administrator with Helm': [
    'With Helm/0',
    'Configuration/1',
    'Upgrading/1',
    'Removing it/1',
  ],
  'an administrator of OpenShift': ['On OpenShift/0', 'Privileged pods/1'],
  'an administrator of OpenShift with Helm': ['On OpenShift/1'],
  'an administrator with a private registry': ['Private registries/0'],
  'an administrator of a hub with kustomize': [
    'The hub/0',
    'The hub/4',
    'The hub/6',
    'The hub/5',
    'Upgrading and removing them/0',
    'Upgrading and removing them/2',
  ],
  'an administrator of a hub with Helm': [
    'The hub/1',
    'Upgrading and removing them/1',
    'Upgrading and removing them/3',
  ],
  'an administrator of a hub on OpenShift': ['The hub/2'],
  'an administrator of a hub on OpenShift with Helm': ['The hub/3'],
  'an administrator of a spoke with kustomize': ['The spokes/0', 'Upgrading and removing them/4'],
  'an administrator of a spoke with Helm': ['The spokes/1'],
  'an administrator of a spoke on OpenShift': ['The spokes/2'],
  'an administrator of a hub with policies': ['The spokes/3'],
};
/** What is there of Open Cluster Management. */
const parts = ['ocm-crds', 'ocm-policy-crds', 'ocm-placement-rule-crds'];
/** It takes cert-manager, which a bare API server has not. */
const elsewhere = ["The webhook's certificate/0"];
/** Waits for pods, which nothing runs here. */
const waits = 'rollout status';

describeWith([...apiServerPrograms, 'bash', 'kubectl', 'helm'], 'docs/install.md', () => {
  it('has no commands that are not tried', () => {
    expect([...Object.values(journeys).flat(), ...elsewhere].toSorted()).toEqual([...blocks.keys()].toSorted());
  });

  it.each(Object.entries(journeys))('has commands that work for %s', async (_, journey) => {
    await using api = await startApiServer();
    const client = await api.client();
    for (const part of parts) await installDefinitions(client, readDefinitions(part));
    await using directory = await createTemporaryDirectory();
    const shell = await prepareShell(directory.path, api.kubeconfig);
    for (const name of ['drivers', 'other', 'openshift']) await shell(`kubectl create namespace ${name}`);
    if (journey[0] === 'Private registries/0') await shell('kubectl create namespace kmm-operator-system');
    const all = journey.flatMap((name) => blocks.get(name) ?? []);
    const commands = all.filter((command) => !command.includes(waits));
    const answers: string[] = [];
    // The shell throws with what a command said when it fails.
    for (const command of commands) answers.push(await shell(command));
    expect(answers).toHaveLength(commands.length);
  });

  it("waits for a hub's ManifestWorks by the label that they have", () => {
    const [label] = Object.keys(manifestWorkLabels('driver'));
    expect(text).toContain(`kubectl wait manifestworks --all-namespaces --selector ${label} --for=delete`);
  });

  it('has an overlay for a private registry that names the registry everywhere', async () => {
    await using directory = await createTemporaryDirectory();
    const shell = await prepareShell(directory.path, '');
    await mkdir(join(directory.path, 'site'));
    await writeFile(join(directory.path, 'site/kustomization.yaml'), site);
    const rendered = await shell('kubectl kustomize site');
    const names = rendered.match(/registry\.example\/[\w-]+:\S+/g)?.toSorted();
    const program = `registry.example/kmm-sign:${manifest.version}`;
    const loader = `registry.example/kmm-sign-loader:${manifest.version}`;
    expect(names).toEqual([loader, program, program, program, program].toSorted());
    expect(rendered).not.toContain('ghcr.io');
    // The operator, its webhook, and the account of the pods that look at nodes.
    expect(rendered.match(/imagePullSecrets/g)).toHaveLength(3);
  });
});
