import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import * as z from 'zod';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../src/shared/temporary.ts';
import { describeWith } from '../../support/programs.ts';
import { renderOverlay } from '../manifests.ts';
import { manifestsAndAccounts, readBundle, writeBundles } from './lifecycle-manager.ts';

const list = z.array(z.string()).catch([]);
const rule = z.looseObject({ apiGroups: list, resources: list, resourceNames: list, verbs: list });
const roleSchema = z.looseObject({
  kind: z.enum(['Role', 'ClusterRole']),
  metadata: z.looseObject({ name: z.string() }),
  rules: z.array(rule),
});
const bindingSchema = z.looseObject({
  kind: z.enum(['RoleBinding', 'ClusterRoleBinding']),
  metadata: z.looseObject({ namespace: z.string().optional() }),
  roleRef: z.looseObject({ kind: z.string(), name: z.string() }),
  subjects: z.array(z.looseObject({ name: z.string() })),
});

/** Everything that objects allow an account: `NAMESPACE VERB GROUP/RESOURCE`, in all namespaces `*`. */
function rightsOf(objects: readonly object[], account: string): string[] {
  const roles = objects.flatMap((object) => roleSchema.safeParse(object).data ?? []);
  const bindings = objects.flatMap((object) => bindingSchema.safeParse(object).data ?? []);
  const own = bindings.filter(({ subjects }) => subjects.some(({ name }) => name === account));
  const rights = own.flatMap(({ kind, metadata, roleRef }) => {
    const place = kind === 'ClusterRoleBinding' ? '*' : (metadata.namespace ?? '');
    const role = roles.find((one) => one.kind === roleRef.kind && one.metadata.name === roleRef.name);
    if (role === undefined) throw new Error(`${roleRef.name} does not exist`);
    return role.rules.flatMap(({ apiGroups, resources, resourceNames, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) =>
          verbs.map((verb) => [place, verb, `${group}/${resource}`, ...resourceNames].join(' ')),
        ),
      ),
    );
  });
  return [...new Set(rights)].toSorted();
}

/** What replaces rights of an installation without the Operator Lifecycle Manager. */
const streams = (place: string) => ['get', 'list', 'watch'].map((verb) => `${place} ${verb} image.openshift.io/imagestreams`);
const claims = ['create', 'delete', 'get', 'list', 'patch', 'watch'].map(
  (verb) => `* ${verb} cluster.open-cluster-management.io/clusterclaims`,
);
const certificates = (right: string): boolean => right.includes('-webhook-certificate') || right.includes('admissionregistration');

describeWith(['kubectl'], 'what the accounts of the bundles may do', () => {
  let directory: TemporaryDirectory;
  beforeAll(async () => {
    directory = await createTemporaryDirectory();
    await writeBundles(directory.path);
  });
  afterAll(() => directory?.[Symbol.asyncDispose]());

  it.each([
    ['kernel-module-management', 'openshift', 'kmm-operator-controller', 'kmm-operator-controller-manager', claims],
    ['kernel-module-management', 'openshift', 'kmm-operator-webhook', 'kmm-operator-webhook', []],
    ['kernel-module-management', 'openshift', 'kmm-operator-module-loader', 'kmm-operator-module-loader', []],
    ['kernel-module-management', 'openshift', 'kmm-operator-device-plugin', 'kmm-operator-device-plugin', []],
    [
      'kernel-module-management-hub',
      'hub-openshift',
      'kmm-operator-hub-controller',
      'kmm-operator-hub-controller-manager',
      [],
    ],
    ['kernel-module-management-hub', 'hub-openshift', 'kmm-operator-hub-webhook', 'kmm-operator-hub-webhook', []],
    ['nfd', 'nfd-openshift', 'nfd-controller-manager', 'nfd-controller-manager', []],
  ])('%s: is what the overlay %s allows %s, but for what is named here', async (name, overlay, account, bundled, more) => {
    const bundle = await readBundle(join(directory.path, name));
    const namespace = bundle.csv.metadata.annotations['operatorframework.io/suggested-namespace'] ?? '';
    const before = rightsOf(await renderOverlay(overlay), account).filter((right) => !certificates(right));
    const asked = before.flatMap((right) => (streams('openshift').includes(right) ? right.replace('openshift', '*') : right));
    const now = rightsOf(manifestsAndAccounts(bundle, namespace), bundled);
    expect(now).toEqual([...new Set([...asked, ...more])].toSorted());
  });
});
