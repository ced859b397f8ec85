import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as z from 'zod';
import { requireProgram } from '../../support/programs.ts';
import { parseManifests, run, type Manifest } from '../manifests.ts';

const script = fileURLToPath(new URL('../../../scripts/bundle.js', import.meta.url));

/** An image as released: with its digest. */
export const operatorImage = `registry.example/kmm-sign@sha256:${'a'.repeat(64)}`;
export const builderImage = `registry.example/kaniko@sha256:${'b'.repeat(64)}`;
export const loaderImage = `registry.example/kmm-sign-loader@sha256:${'c'.repeat(64)}`;
export const nfdImage = `registry.example/nfd@sha256:${'d'.repeat(64)}`;

/** Writes the bundles and the catalog, as `npm run bundle` does. */
export async function writeBundles(output: string, ...more: readonly string[]): Promise<void> {
  const others = ['--builder-image', builderImage, '--loader-image', loaderImage, '--nfd-image', nfdImage];
  const images = ['--image', operatorImage, ...others];
  const env = { ...process.env, KUBECTL: requireProgram('kubectl') };
  await promisify(execFile)(process.execPath, [script, ...images, '--output', output, ...more], { env });
}

const account = z.looseObject({ serviceAccountName: z.string(), rules: z.array(z.unknown()) });
const variable = z.looseObject({ name: z.string(), value: z.string().optional() });
const deploymentSchema = z.looseObject({
  name: z.string(),
  label: z.record(z.string(), z.string()),
  spec: z.looseObject({
    template: z.looseObject({
      spec: z.looseObject({
        serviceAccountName: z.string(),
        containers: z.tuple([
          z.looseObject({ image: z.string(), args: z.array(z.string()), env: z.array(variable) }),
        ]),
      }),
    }),
  }),
});
const webhookSchema = z.looseObject({
  generateName: z.string(),
  deploymentName: z.string(),
  containerPort: z.number(),
  targetPort: z.string(),
  webhookPath: z.string(),
  type: z.literal('ValidatingAdmissionWebhook'),
});

/** The parts of a ClusterServiceVersion from which something is installed, and those that tests look at. */
export const serviceVersionSchema = z.looseObject({
  apiVersion: z.string(),
  kind: z.literal('ClusterServiceVersion'),
  metadata: z.looseObject({ name: z.string(), annotations: z.record(z.string(), z.string()) }),
  spec: z.looseObject({
    version: z.string(),
    relatedImages: z.array(z.object({ name: z.string(), image: z.string() })),
    install: z.looseObject({
      spec: z.looseObject({
        deployments: z.array(deploymentSchema),
        permissions: z.array(account),
        clusterPermissions: z.array(account),
      }),
    }),
    webhookdefinitions: z.array(webhookSchema),
  }),
});

export type ServiceVersion = z.output<typeof serviceVersionSchema>;

/** A bundle, as a catalog has it. */
export interface Bundle {
  readonly csv: ServiceVersion;
  /** All but the ClusterServiceVersion. */
  readonly manifests: readonly Manifest[];
}

/** Reads a bundle. */
export async function readBundle(directory: string): Promise<Bundle> {
  const folder = join(directory, 'manifests');
  const texts = (await readdir(folder)).map((file) => readFile(join(folder, file), 'utf8'));
  const objects = (await Promise.all(texts)).flatMap(parseManifests);
  const csv = serviceVersionSchema.parse(objects.find(({ kind }) => kind === 'ClusterServiceVersion'));
  return { csv, manifests: objects.filter(({ kind }) => kind !== 'ClusterServiceVersion') };
}

export interface InstallOptions {
  readonly kubeconfig: string;
  /** The namespace of the Subscription. */
  readonly namespace: string;
  /** `spec.config.env` of the Subscription. */
  readonly env?: readonly { readonly name: string; readonly value: string }[];
  /** Base64 of the certificate of the authority that it makes. */
  readonly caBundle: string;
  /** Where a webhook is reached: nothing routes services here. */
  readonly webhookUrl: (path: string) => string;
}

/** Does what the Operator Lifecycle Manager does with a bundle. */
export async function installBundle(bundle: Bundle, options: InstallOptions): Promise<void> {
  const { csv } = bundle;
  const items = [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: options.namespace } },
    ...manifestsAndAccounts(bundle, options.namespace),
    ...deployments(csv, options),
    ...webhooks(csv, options),
  ];
  const args = ['--kubeconfig', options.kubeconfig, 'apply', '--server-side', '--validate=strict', '-f', '-'];
  await run('kubectl', args, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
}

/** The objects that a bundle has, and the accounts and roles that are made from its ClusterServiceVersion. */
export function manifestsAndAccounts({ csv, manifests }: Bundle, namespace: string): object[] {
  return [
    ...manifests.map((object) => inNamespace(object, namespace)),
    ...accountsAndRoles(csv, namespace),
  ];
}

const clusterScoped = ['CustomResourceDefinition', 'ClusterRole', 'ClusterRoleBinding'];

function inNamespace(object: Manifest, namespace: string): Manifest {
  if (clusterScoped.includes(object.kind)) return object;
  return { ...object, metadata: { ...object.metadata, namespace } };
}

function accountsAndRoles({ metadata, spec }: ServiceVersion, namespace: string): object[] {
  const { deployments: all, permissions, clusterPermissions } = spec.install.spec;
  const names = new Set(all.map((one) => one.spec.template.spec.serviceAccountName));
  const role = (kind: 'Role' | 'ClusterRole', { serviceAccountName, rules }: z.output<typeof account>) => {
    const place = kind === 'Role' ? { namespace } : {};
    const name = `${metadata.name}-${serviceAccountName}`;
    const apiVersion = 'rbac.authorization.k8s.io/v1';
    const subjects = [{ kind: 'ServiceAccount', name: serviceAccountName, namespace }];
    const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind, name };
    return [
      { apiVersion, kind, metadata: { name, ...place }, rules },
      { apiVersion, kind: `${kind}Binding`, metadata: { name, ...place }, subjects, roleRef },
    ];
  };
  return [
    ...[...names].map((name) => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } })),
    ...permissions.flatMap((one) => role('Role', one)),
    ...clusterPermissions.flatMap((one) => role('ClusterRole', one)),
  ];
}

function deployments({ metadata, spec }: ServiceVersion, { namespace, env = [] }: InstallOptions): object[] {
  return spec.install.spec.deployments.map(({ name, label: labels, spec: deployment }) => {
    const [container] = deployment.template.spec.containers;
    const own = [{ name: 'OPERATOR_CONDITION_NAME', value: metadata.name }];
    const changed = { ...container, env: [...container.env, ...env, ...own] };
    const pod = { ...deployment.template.spec, containers: [changed] };
    const template = { ...deployment.template, spec: pod };
    return {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace, labels },
      spec: { ...deployment, template },
    };
  });
}

function webhooks({ spec }: ServiceVersion, { caBundle, webhookUrl }: InstallOptions): object[] {
  return spec.webhookdefinitions.map((definition) => {
    const { type: _, deploymentName: _deployment, containerPort: _port, targetPort: _target, ...rest } = definition;
    const { generateName: name, webhookPath, ...webhook } = rest;
    return {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name: `${name}-abcde` },
      webhooks: [{ ...webhook, name, clientConfig: { caBundle, url: webhookUrl(webhookPath) } }],
    };
  });
}
