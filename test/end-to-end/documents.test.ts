import { afterAll, beforeAll, expect, it } from 'vitest';
import { installCustomResources } from '../support/custom-resources.ts';
import { installHubResources } from '../support/hub/crds.ts';
import { describeWith } from '../support/programs.ts';
import {
  documentExample,
  documentExamples,
  withoutPlaceholders,
  type DocumentExample,
} from './document-examples.ts';
import { startWebhookWorld, webhookWorldPrograms, type WebhookWorld } from './webhook-world.ts';
import { hubWebhookObjects, webhookObjects } from '../../src/controller/webhook/webhooks.ts';

/** What kubectl says of an object that was accepted; several examples have one name. */
const applied = / (?:created|configured|unchanged)\n$/;

/** Files and numbers of objects. */
const accepted = [
  ['openshift-4.12/2.3.1-drivercontainer.yaml', 0],
  ['openshift-4.12/2.3.1-drivercontainer.yaml', 1],
  ['openshift-4.12/2.3.1-drivercontainer.yaml', 3],
  ['openshift-4.12/3.2.1-namespace.yaml', 0],
  ['openshift-4.12/4.12.2.2-install-hub.yaml', 0],
  ['openshift-4.12/4.2.2-namespace.yaml', 0],
  ['openshift-4.12/4.4.1.1-dockerfile-configmap.yaml', 0],
  ['openshift-4.12/4.7-sign-prebuilt-image.yaml', 0],
  ['openshift-4.12/4.8-build-and-sign.yaml', 0],
  ['openshift-4.12/4.8-build-and-sign.yaml', 1],
  ['upstream/managed-cluster-module.yaml', 0],
] as const;

const otherProduct = 'no matches for kind';
const placeholder = 'metadata.name: Invalid value: "<';

/** What is said of the other objects of a file. */
const refused = [
  ['openshift-4.12/2.3.1-buildconfig.yaml', otherProduct],
  ['openshift-4.12/2.3.1-drivercontainer.yaml', 'unknown field "userNames"'],
  ['openshift-4.12/3.2.1-operator-group.yaml', otherProduct],
  ['openshift-4.12/3.2.1-subscription.yaml', otherProduct],
  // Accepted where `kmm-operator nfd` is installed: test/controller/nfd.
  ['openshift-4.12/3.3.1-node-feature-discovery.yaml', otherProduct],
  ['openshift-4.12/3.6-node-feature-rule.yaml', otherProduct],
  ['openshift-4.12/3.7.1-node-resource-topology.yaml', otherProduct],
  ['openshift-4.12/4.10.1-machine-config.yaml', otherProduct],
  ['openshift-4.12/4.10.3-firmware.yaml', 'spec.moduleLoader.container.kernelMappings: Required value'],
  ['openshift-4.12/4.12.2.2-install-hub.yaml', otherProduct],
  ['openshift-4.12/4.12.3-managed-cluster-module.yaml', placeholder],
  ['openshift-4.12/4.12.4-install-spoke.yaml', otherProduct],
  ['openshift-4.12/4.2.2-operator-group.yaml', otherProduct],
  ['openshift-4.12/4.2.2-subscription.yaml', otherProduct],
  ['openshift-4.12/4.2.3-security-context-constraints.yaml', otherProduct],
  ['openshift-4.12/4.3.3-module.yaml', placeholder],
  ['openshift-4.12/4.4.2-kernel-mapping.yaml', 'invalid object'],
  ['openshift-4.12/4.6-secrets.yaml', 'illegal base64 data'],
  ['upstream/install-spoke.yaml', otherProduct],
] as const;

describeWith(webhookWorldPrograms, 'the examples of the KMM documentation', () => {
  let world: WebhookWorld;

  beforeAll(async () => {
    const flags = ['--enable-module', '--enable-managedclustermodule', '--enable-preflightvalidation'];
    world = await startWebhookWorld({ prepare: installCustomResources, flags, objects: webhookObjects });
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  it.each(accepted)('are accepted as they stand: %s, object %i', async (file, index) => {
    expect(await world.apply(documentExample(file, index))).toMatch(applied);
  });

  it.each(refused)('are refused for a reason that their README names: %s', async (file, reason) => {
    const all = documentExamples.filter((one) => one.file === file && !isAccepted(one));
    for (const { object } of all) expect(await world.apply(object)).toContain(reason);
    expect(all).not.toEqual([]);
  });

  it.each(['openshift-4.12/4.3.3-module.yaml', 'openshift-4.12/4.12.3-managed-cluster-module.yaml'])(
    'are accepted with names in place of placeholders: %s',
    async (file) => {
      expect(await world.apply(withoutPlaceholders(documentExample(file)))).toMatch(applied);
    },
  );

  it('are all looked at', () => {
    const files = [...accepted, ...refused].map(([file]) => file);
    expect(new Set(files)).toEqual(new Set(documentExamples.map(({ file }) => file)));
  });
});

/** Of hubs: those of 4.12 and of the page "Hub & Spoke". */
const isOfHub = ([file]: readonly [string, ...unknown[]]): boolean =>
  file.includes('/4.12.') || file.startsWith('upstream/');
const managedClusterModule = withoutPlaceholders(
  documentExample('openshift-4.12/4.12.3-managed-cluster-module.yaml'),
) as { readonly spec: object };

describeWith([...webhookWorldPrograms, 'ocm-work'], 'the examples of hub and spoke, on a hub', () => {
  let world: WebhookWorld;

  beforeAll(async () => {
    const flags = ['--enable-managedclustermodule'];
    world = await startWebhookWorld({ prepare: installHubResources, flags, objects: hubWebhookObjects });
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  it.each(accepted.filter(isOfHub))('are accepted as they stand: %s, object %i', async (file, index) => {
    expect(await world.apply(documentExample(file, index))).toMatch(applied);
  });

  it.each(refused.filter(isOfHub))('are refused for the same reason: %s', async (file, reason) => {
    const all = documentExamples.filter((one) => one.file === file && !isAccepted(one));
    for (const { object } of all) expect(await world.apply(object)).toContain(reason);
  });

  it('are accepted with names in place of placeholders', async () => {
    expect(await world.apply(managedClusterModule)).toMatch(applied);
  });

  it.each([
    ['openshift-4.12/4.3.3-module.yaml', 0],
    ['openshift-4.12/4.7-sign-prebuilt-image.yaml', 0],
    ['openshift-4.12/4.8-build-and-sign.yaml', 1],
  ])('are accepted with the spec of the Module of %s', async (file, index) => {
    expect(await world.apply(wrap(file, index))).toMatch(applied);
  });

  it('are refused with a Module that is refused', async () => {
    const said = await world.apply(wrap('openshift-4.12/4.10.3-firmware.yaml'));
    expect(said).toContain('spec.moduleSpec.moduleLoader.container.kernelMappings: Required value');
  });
});

function isAccepted({ file, index }: DocumentExample): boolean {
  return accepted.some(([one, at]) => one === file && at === index);
}

/** The example with the spec of a Module, "just like in a Module resource". */
function wrap(file: string, index = 0): object {
  const { spec: moduleSpec } = withoutPlaceholders(documentExample(file, index)) as { spec: object };
  return { ...managedClusterModule, spec: { ...managedClusterModule.spec, moduleSpec } };
}
