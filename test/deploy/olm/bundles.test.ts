import { execFile } from 'node:child_process';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import * as z from 'zod';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../src/shared/temporary.ts';
import { documentExample } from '../../end-to-end/document-examples.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../../support/api-server.ts';
import { installDefinitions } from '../../support/custom-resources.ts';
import { readDefinitions } from '../../support/hub/crds.ts';
import { describeWith } from '../../support/programs.ts';
import { run, type Manifest } from '../manifests.ts';
import { builderImage, loaderImage, nfdImage, operatorImage, readBundle, writeBundles } from './lifecycle-manager.ts';

const packages = ['kernel-module-management', 'kernel-module-management-hub', 'nfd'];
/** What validators say of events.k8s.io, taking it for the old group, and of themselves. */
const knownWarnings = [/APIs which were deprecated and removed in v1\.25.* for events:/, /validator is deprecated/];

const subscriptionSchema = z.looseObject({
  metadata: z.looseObject({ namespace: z.string() }),
  spec: z.looseObject({ name: z.string(), channel: z.string() }),
});
/** The Subscriptions of the documents: the last is within a Policy. */
const subscriptions = [
  documentExample('openshift-4.12/3.2.1-subscription.yaml'),
  documentExample('openshift-4.12/4.12.2.2-install-hub.yaml', 2),
  findSubscription(documentExample('openshift-4.12/4.12.4-install-spoke.yaml')),
].map((object = {}) => [object, subscriptionSchema.parse(object)] as const);

describeWith([...apiServerPrograms, 'kubectl', 'operator-verify', 'catalog-validate'], 'the bundles', (programs) => {
  let directory: TemporaryDirectory;
  let api: ApiServer;
  beforeAll(async () => {
    directory = await createTemporaryDirectory();
    await writeBundles(directory.path);
    api = await startApiServer();
    const client = await api.client();
    for (const part of ['operator-lifecycle-manager-crds', 'cluster-service-version-crds'])
      await installDefinitions(client, readDefinitions(part));
  });
  afterAll(async () => {
    await api?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  const bundle = (name: string) => readBundle(join(directory.path, name));
  const apply = (object: object, ...more: string[]): Promise<string> =>
    run(
      'kubectl',
      ['--kubeconfig', api.kubeconfig, 'apply', '--server-side', '--validate=strict', ...more, '-f', '-'],
      JSON.stringify(object),
    );

  describe.each(packages)('of the package %s', (name) => {
    it('satisfies the validators of the Operator Lifecycle Manager', async () => {
      const args = ['manifests', '--operatorhub_validate', '--object_validate', join(directory.path, name)];
      const { stderr } = await promisify(execFile)(programs['operator-verify'], args);
      const lines = stderr.split('\n').filter((line) => line !== '');
      expect(lines.filter((line) => !knownWarnings.some((known) => known.test(line)))).toEqual([]);
      expect(lines.some((line) => /validator is deprecated/.test(line))).toBe(true);
    });

    it('has a ClusterServiceVersion that an API server takes', async () => {
      const { csv } = await bundle(name);
      expect(await apply({ ...csv, metadata: { ...csv.metadata, namespace: 'default' } })).toContain('serverside-applied');
      const wrong = { ...csv, spec: { ...csv.spec, installMode: [] } };
      await expect(apply({ ...wrong, metadata: { ...csv.metadata, namespace: 'default' } })).rejects.toThrow('installMode');
    });

    it('names images by their digests only', async () => {
      const { csv } = await bundle(name);
      expect(csv.spec.relatedImages).toEqual([
        { name: 'operator', image: operatorImage },
        ...(name === 'nfd' ? [{ name: 'nfd', image: nfdImage }] : [{ name: 'builder', image: builderImage }]),
        ...(name === 'kernel-module-management' ? [{ name: 'loader', image: loaderImage }] : []),
      ]);
      for (const { spec } of csv.spec.install.spec.deployments) {
        const [{ image, env }] = spec.template.spec.containers;
        expect(image).toBe(operatorImage);
        const images = env.filter(({ name: variable }) => variable.startsWith('RELATED_IMAGE'));
        expect(images.every(({ value = '' }) => value.includes('@sha256:'))).toBe(true);
      }
      expect(csv.metadata.annotations['containerImage']).toBe(operatorImage);
    });

    it('is in a catalog, under the channel stable', async () => {
      const { csv } = await bundle(name);
      const text = await readFile(join(directory.path, `catalog/${name}/catalog.yaml`), 'utf8');
      expect(parseAllDocuments(text).map((document) => document.toJS() as object)).toMatchObject([
        { schema: 'olm.package', name, defaultChannel: 'stable' },
        { schema: 'olm.channel', package: name, name: 'stable', entries: [{ name: csv.metadata.name }] },
        { schema: 'olm.bundle', package: name, name: csv.metadata.name, relatedImages: expect.any(Array) as unknown[] },
      ]);
    });
  });

  const validate = (folder: string) => promisify(execFile)(programs['catalog-validate'], [folder]);

  it('are in a catalog that satisfies the validator of opm, which refuses one with a channel that has no bundle', async () => {
    const catalog = join(directory.path, 'catalog');
    await validate(catalog);
    const wrong = join(directory.path, 'wrong');
    await cp(catalog, wrong, { recursive: true });
    const file = join(wrong, 'nfd/catalog.yaml');
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace('- name: nfd.v', '- name: other.v'));
    await expect(validate(wrong)).rejects.toThrow('nfd');
  });

  it.each(subscriptions)('are what a Subscription of the documents asks for', async (object, { metadata, spec }) => {
    const { csv } = await bundle(spec.name);
    expect(spec.channel).toBe('stable');
    expect(csv.metadata.annotations['operatorframework.io/suggested-namespace']).toBe(metadata.namespace);
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: metadata.namespace } };
    await apply(namespace);
    expect(await apply(object)).toContain('serverside-applied');
  });

  it('of the package nfd works in its own namespace, as the OperatorGroup of the documents asks', async () => {
    const { csv } = await bundle('nfd');
    const modes = z.array(z.object({ type: z.string(), supported: z.boolean() })).parse(csv.spec['installModes']);
    expect(modes.filter(({ supported }) => supported)).toEqual([{ type: 'OwnNamespace', supported: true }]);
    const group = documentExample('openshift-4.12/3.2.1-operator-group.yaml');
    expect(group).toMatchObject({ metadata: { namespace: 'openshift-nfd' }, spec: { targetNamespaces: ['openshift-nfd'] } });
    expect(await apply(group)).toContain('serverside-applied');
  });

  it('have examples that our API takes', async () => {
    for (const name of packages) {
      const { csv, manifests } = await bundle(name);
      for (const object of manifests.filter(({ kind }) => kind === 'CustomResourceDefinition')) await apply(object);
      const examples = JSON.parse(csv.metadata.annotations['alm-examples'] ?? '[]') as Manifest[];
      for (const { metadata } of manifests.filter(({ kind }) => kind === 'CustomResourceDefinition'))
        await run('kubectl', ['--kubeconfig', api.kubeconfig, 'wait', '--for=condition=Established', `crd/${metadata.name}`]);
      for (const example of examples)
        expect(await apply(example, '--namespace=default', '--dry-run=server')).toContain('serverside-applied');
    }
  });

  it('are not written of an image that could change', async () => {
    const written = writeBundles(join(directory.path, 'unpinned'), '--image', 'registry.example/kmm-sign:latest');
    await expect(written).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('--image') as string });
  });
});

/** Finds a Subscription within another object. */
function findSubscription(value: unknown): object | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if ('kind' in value && value.kind === 'Subscription') return value;
  for (const inner of Object.values(value)) {
    const found = findSubscription(inner);
    if (found !== undefined) return found;
  }
  return undefined;
}
