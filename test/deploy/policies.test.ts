import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../support/api-server.ts';
import { installCustomResources, installDefinitions } from '../support/custom-resources.ts';
import { readDefinitions } from '../support/hub/crds.ts';
import { describeWith } from '../support/programs.ts';
import { deployDirectory, parseManifests, renderOverlay, run, type Manifest } from './manifests.ts';

/** A Policy, as far as it is looked at here. */
interface Policy extends Omit<Manifest, 'spec'> {
  readonly spec: {
    readonly remediationAction: string;
    readonly 'policy-templates': readonly { readonly objectDefinition: ConfigurationPolicy }[];
  };
}
interface ConfigurationPolicy extends Omit<Manifest, 'spec'> {
  readonly spec: { readonly 'object-templates': readonly { readonly objectDefinition: Manifest }[] };
}

const parts = [
  'ocm-policy-crds',
  'ocm-placement-rule-crds',
  'ocm-configuration-policy-crds',
  'operator-lifecycle-manager-crds',
];
const policies = readdirSync(`${deployDirectory}policies`);
/** The spoke that a policy installs. */
const overlays = new Map([
  ['install-kmm.yaml', 'spoke'],
  ['install-kmm-openshift.yaml', 'spoke-openshift'],
]);

function policyOf(file: string): Policy {
  const objects = parseManifests(readFileSync(`${deployDirectory}policies/${file}`, 'utf8'));
  const policy = objects.find(({ kind }) => kind === 'Policy');
  if (policy === undefined) throw new Error(`${file} has no Policy`);
  return policy as unknown as Policy;
}

/** The ConfigurationPolicies of a policy, as the hub gives them to a spoke: with the policy's action. */
function configurationsOf(file: string): ConfigurationPolicy[] {
  const { remediationAction, 'policy-templates': templates } = policyOf(file).spec;
  return templates.map(({ objectDefinition: { metadata, spec, ...type } }) => ({
    ...type,
    metadata: { ...metadata, namespace: 'policies' },
    spec: { ...spec, remediationAction },
  }));
}

/** What a policy has its clusters hold. */
function objectsOf(file: string): Manifest[] {
  const templates = configurationsOf(file).flatMap(({ spec }) => spec['object-templates']);
  return templates.map(({ objectDefinition }) => objectDefinition);
}

/** The namespace of the operator, or what lets the work agent manage Modules. */
function find(objects: readonly Manifest[], wanted: string): Manifest | undefined {
  const isOfAgent = /^(kmm-module-manager|klusterlet-kmm)$/;
  return objects.find(
    ({ kind, metadata }) => kind === wanted && (kind === 'Namespace' || isOfAgent.test(metadata.name)),
  );
}

describeWith([...apiServerPrograms, 'kubectl'], 'the policies that install spokes', () => {
  let api: ApiServer;
  let client: ApiClient;
  const kubectl = (args: readonly string[], input?: string): Promise<string> =>
    run('kubectl', ['--kubeconfig', api.kubeconfig, ...args], input);
  const apply = (objects: readonly Omit<Manifest, 'spec'>[]): Promise<string> =>
    kubectl(
      ['apply', '--server-side', '--force-conflicts', '--validate=strict', '-f', '-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
    );

  beforeAll(async () => {
    api = await startApiServer();
    client = await api.client();
    for (const part of parts) await installDefinitions(client, readDefinitions(part));
    await installCustomResources(client);
    await kubectl(['create', 'namespace', 'policies']);
  });
  afterAll(async () => api?.[Symbol.asyncDispose]());

  it('are the ones that are known here', () => {
    expect(policies.toSorted()).toEqual([...overlays.keys()].toSorted());
  });

  it.each(policies)('%s is taken by a hub, as it stands', async (file) => {
    const path = `${deployDirectory}policies/${file}`;
    await kubectl(['apply', '--server-side', '--validate=strict', '--namespace', 'policies', '-f', path]);
    const kinds = ['policy', 'placementrule', 'placementbinding'].map((kind) =>
      kubectl(['get', kind, '--namespace', 'policies', '--output=jsonpath={.items[*].metadata.name}']),
    );
    expect(await Promise.all(kinds)).toEqual(['install-kmm', 'all-managed-clusters', 'install-kmm']);
  });

  it.each(policies)('%s has what spokes take: its configuration, and each object in that', async (file) => {
    await apply(configurationsOf(file));
    const [namespace, ...others] = objectsOf(file);
    if (namespace === undefined) throw new Error(`${file} has no objects`);
    await apply([namespace]);
    const applied = await apply(others);
    expect(applied.trim().split('\n')).toHaveLength(others.length);
  });

  it('would be refused with a field that is wrong', async () => {
    const [subscription] = objectsOf('install-kmm.yaml').filter(({ kind }) => kind === 'Subscription');
    if (subscription === undefined) throw new Error('there is no Subscription');
    const wrong = { ...subscription, spec: { ...subscription.spec, chanel: 'alpha' } };
    await expect(apply([wrong])).rejects.toThrow('chanel');
  });

  it.each([...overlays])('%s sets up what the overlay %s does for hub and agent', async (file, overlay) => {
    const rendered = await renderOverlay(overlay);
    const objects = objectsOf(file);
    for (const kind of ['Namespace', 'ClusterRole', 'ClusterRoleBinding']) {
      const wanted = find(objects, kind);
      expect(wanted).toBeDefined();
      expect(find(rendered, kind)).toMatchObject(wanted ?? {});
    }
    const subscription = objects.find(({ kind }) => kind === 'Subscription');
    const managed = { name: 'KMM_MANAGED', value: '1' };
    expect(subscription).toMatchObject({ spec: { config: { env: [managed] } } });
    expect(JSON.stringify(rendered.filter(({ kind }) => kind === 'Deployment'))).toContain(JSON.stringify(managed));
  });
});
