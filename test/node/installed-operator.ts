import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import manifest from '../../package.json' with { type: 'json' };
import type { BuilderName } from '../../src/builder/builder.ts';
import { allowReferences, createPullSecret, createSigningSecrets } from '../end-to-end/module-secrets.ts';
import { makeKeyPair, type KeyPair } from '../end-to-end/key-pair.ts';
import { pushImages, pushSmallImage } from '../end-to-end/images.ts';
import { buildToolsPrograms } from '../end-to-end/build-tools.ts';
import { chartDirectory, deployDirectory, run } from '../deploy/manifests.ts';
import { pushKmodImage } from './driver-image.ts';
import {
  imagePrograms,
  makeBuildahImage,
  makeKanikoImage,
  makeLoaderImage,
  makeOperatorImage,
  pushImage,
} from '../support/node/debian-images.ts';
import { realClusterPrograms, startRealCluster, type RealCluster } from '../support/node/real-cluster.ts';
import { testUser } from '../support/registries.ts';
import { waitFor } from '../support/wait-for.ts';

/** The real programs that an operator on real nodes needs, and root. */
export const installedOperatorPrograms = [
  ...realClusterPrograms,
  ...imagePrograms,
  ...buildToolsPrograms,
  'helm',
  'kaniko',
] as const;

/** The namespace of the operator. */
export const operatorNamespace = 'kmm-operator-system';
const { version } = manifest;
const installDocument = fileURLToPath(new URL('../../docs/install.md', import.meta.url));

/** A cluster whose registry has everything that an operator and a Module need. */
export interface PreparedCluster extends RealCluster {
  readonly key: KeyPair;
}

/**
 * Starts a cluster, pushes the operator's image and others, and prepares the namespace `default` for Modules. Unless
 * `withBuilders` is false, there are images for builds too: half a gigabyte.
 */
export async function startPreparedCluster(
  nodes: readonly string[],
  { withBuilders = true }: { readonly withBuilders?: boolean } = {},
): Promise<PreparedCluster> {
  await using stack = new AsyncDisposableStack();
  const cluster = stack.use(await startRealCluster(nodes));
  const { registry, kubectl, directory } = cluster;
  const images = { 'kmm-sign': await makeOperatorImage(), 'kmm-sign-loader': await makeLoaderImage() };
  for (const [name, image] of Object.entries(images)) {
    await pushImage(image, { reference: `${registry}/${name}:${version}`, ...testUser });
  }
  if (withBuilders) await pushBuilders(cluster);
  else await pushSmallImage(cluster.repository('ubi'));
  const key = await makeKeyPair(directory);
  await kubectl(['label', 'namespace', 'default', 'pod-security.kubernetes.io/enforce=privileged']);
  await createSigningSecrets(kubectl, { namespace: 'default', key });
  await createPullSecret(kubectl, { namespace: 'default', host: registry });
  const owned = stack.move();
  return { ...cluster, key, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function pushBuilders({ registry, repository }: RealCluster): Promise<void> {
  const images = { buildah: await makeBuildahImage(), kaniko: await makeKanikoImage() };
  for (const [name, image] of Object.entries(images)) {
    await pushImage(image, { reference: `${registry}/${name}:v1`, ...testUser });
  }
  await pushImages(repository);
  await pushKmodImage(repository('kmod'));
}

/** The operator's configuration: what is pulled comes from the cluster's registry. */
function configurationFor(
  { registry }: RealCluster,
  kernel: string,
  builder: BuilderName,
  settings: object,
): object {
  const tools = `${registry}/build-tools:bookworm`;
  return {
    job: { gcDelay: '1h', backoffLimit: 0 },
    build: { builder, image: `${registry}/${builder}:v1` },
    driverToolkit: { images: { [kernel]: tools } },
    registry: { checkInterval: '5s' },
    ...settings,
  };
}

/** Creates the namespace with the pull secret of the operator's own image. */
async function createNamespace({ kubectl, registry }: RealCluster): Promise<void> {
  await kubectl(['create', 'namespace', operatorNamespace]);
  await kubectl(['label', 'namespace', operatorNamespace, 'pod-security.kubernetes.io/enforce=restricted']);
  await kubectl([
    ...`create secret docker-registry pull --namespace=${operatorNamespace} --docker-server=${registry}`.split(
      ' ',
    ),
    `--docker-username=${testUser.username}`,
    `--docker-password=${testUser.password}`,
  ]);
}

/** Installs the chart. The namespace allows pods of the profile "restricted" only. */
export async function installChart(
  cluster: RealCluster,
  kernel: string,
  builder: BuilderName,
): Promise<void> {
  await createNamespace(cluster);
  const settings = [
    `image.repository=${cluster.registry}/kmm-sign`,
    'imagePullSecrets={pull}',
    'references.namespaces={default}',
  ];
  const values = join(cluster.directory, 'values.json');
  await writeFile(values, JSON.stringify({ configuration: configurationFor(cluster, kernel, builder, {}) }));
  await run('helm', [
    'install',
    'kmm-sign',
    chartDirectory,
    `--namespace=${operatorNamespace}`,
    `--values=${values}`,
    ...settings.flatMap((setting) => ['--set', setting]),
    `--kubeconfig=${cluster.kubeconfig}`,
  ]);
  await untilRolledOut(cluster);
}

/** Installs an overlay as docs/install.md says for a private registry. `settings` is more of the configuration. */
export async function installOverlay(
  cluster: RealCluster,
  kernel: string,
  builder: BuilderName,
  settings: object = {},
): Promise<void> {
  const { kubectl, directory, registry } = cluster;
  await createNamespace(cluster);
  const document = await readFile(installDocument, 'utf8');
  const site = /^```yaml\n(.*?)^```$/ms.exec(document)?.[1] ?? '';
  await cp(deployDirectory, join(directory, 'deploy'), { recursive: true });
  await mkdir(join(directory, 'site'));
  await writeFile(join(directory, 'site/kustomization.yaml'), site.replaceAll('registry.example', registry));
  const configuration = join(directory, 'controller_config.yaml');
  await writeFile(configuration, stringify(configurationFor(cluster, kernel, builder, settings)));
  await kubectl([
    ...`create configmap kmm-operator-manager-config --namespace=${operatorNamespace}`.split(' '),
    `--from-file=${configuration}`,
  ]);
  await kubectl(['apply', '--server-side', '--force-conflicts', '-k', join(directory, 'site')]);
  await allowReferences(kubectl, {
    namespace: 'default',
    account: `${operatorNamespace}:kmm-operator-controller`,
  });
  await untilRolledOut(cluster);
}

/** Gives the operator of an overlay another configuration, and starts it again. */
export async function reconfigureOverlay(
  cluster: RealCluster,
  kernel: string,
  builder: BuilderName,
  settings: object,
): Promise<void> {
  const { kubectl } = cluster;
  const text = stringify(configurationFor(cluster, kernel, builder, settings));
  const patch = JSON.stringify({ data: { 'controller_config.yaml': text } });
  const namespace = `--namespace=${operatorNamespace}`;
  await kubectl(['patch', 'configmap', 'kmm-operator-manager-config', namespace, `--patch=${patch}`]);
  await kubectl(['rollout', 'restart', 'deployment/kmm-operator-controller', namespace]);
  await untilRolledOut(cluster);
}

/** Uninstalls what `installChart` installed. */
export async function uninstallChart({ kubectl, kubeconfig }: RealCluster): Promise<void> {
  await run('helm', [
    'uninstall',
    'kmm-sign',
    `--namespace=${operatorNamespace}`,
    `--kubeconfig=${kubeconfig}`,
  ]);
  await kubectl(['delete', '-k', join(deployDirectory, 'crds')]);
  await kubectl(['delete', 'namespace', operatorNamespace]);
}

async function untilRolledOut({ kubectl }: RealCluster): Promise<void> {
  for (const name of ['controller', 'webhook']) {
    const deployment = `deployment/kmm-operator-${name}`;
    await kubectl(['rollout', 'status', deployment, `--namespace=${operatorNamespace}`, '--timeout=120s']);
  }
}

/** Pods are pulled and started for real, beside other tests. */
const patience = { timeout: 420_000, interval: 500 };

/** Waits until a check holds, and returns what it found. @throws Error with what the pods of the namespace `default` say */
export async function untilHolds<T>(cluster: RealCluster, check: () => Promise<T>): Promise<T> {
  try {
    return await waitFor(check, patience);
  } catch (error) {
    throw new Error([String(error), await describePods(cluster)].join('\n'), { cause: error });
  }
}

/** Returns what Kubernetes and their logs say of the pods of the namespace `default`. */
export async function describePods({ kubectl }: RealCluster): Promise<string> {
  const pods = await kubectl(['describe', 'pods']);
  const names = (await kubectl(['get', 'pods', '--output=name'])).split('\n').filter(Boolean);
  const logs = await Promise.all(
    names.map((name) => kubectl(['logs', name, '--all-containers', '--tail=30']).catch(String)),
  );
  return [pods, ...logs].join('\n');
}
