import {
  parseManagedClusterModule,
  type ManagedClusterModule,
} from '../../src/api/managed-cluster-module.ts';
import { managedClusterModules } from '../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { managedClusters } from '../../src/controller/hub/fleet/managed-clusters.ts';
import type { ImageRepository } from '../../src/registry/image/repository.ts';
import { createTemporaryDirectory } from '../../src/shared/temporary.ts';
import { eventually } from '../cluster/wait-for.ts';
import { copyClaims } from '../support/hub/copy-claims.ts';
import { installHubResources } from '../support/hub/crds.ts';
import { startWorkAgent } from '../support/hub/work-agent.ts';
import type { ProgramName } from '../support/programs.ts';
import type { TestRegistry } from '../support/registries.ts';
import { nextKernel } from '../support/debian-kernel.ts';
import { pushToolsForNextKernel } from './images.ts';
import {
  installedClusterPrograms,
  signImage,
  startInstalledCluster,
  type InstalledCluster,
} from './installed-cluster.ts';
import { makeKeyPair, type KeyPair } from './key-pair.ts';
import { allowReferences, createPullSecret, createSigningSecrets } from './module-secrets.ts';
import type { OperatorProcess } from './operator-process.ts';
import { configurationFor, readManifest } from './operator-world.ts';
import { privateRegistryPrograms, startPrivateRegistry } from './private-registry.ts';

/** The real programs that a hub and a spoke take. */
export const hubAndSpokePrograms: readonly ProgramName[] = [
  ...installedClusterPrograms,
  ...privateRegistryPrograms,
  'ocm-work',
];

/** The spoke on the hub. The manifests know it. */
export const spokeName = 'spoke-1';
/** Where the spoke's Modules are. */
export const spokeNamespace = 'drivers';
const agent = { namespace: 'open-cluster-management-agent', name: 'klusterlet-work-sa' };
const agentOnHub = { namespace: spokeName, name: 'work-agent' };

/**
 * A hub and a spoke that were set up as docs/hub-and-spoke.md says, with Open Cluster Management's work agent
 * between them and a private registry for both. Nobody is an administrator but the test.
 */
export interface HubAndSpoke extends AsyncDisposable {
  readonly hub: InstalledCluster;
  readonly spoke: InstalledCluster;
  readonly registry: TestRegistry;
  readonly key: KeyPair;
  repository(name: string): ImageRepository;
  /** Applies a file of `manifests` on the hub, with the registry's name in it. */
  applyOnHub(name: string): Promise<void>;
  /** Starts `kmm-operator hub`, which can build modules for both kernels, and keeps no Job longer than it must. */
  startHubOperator(configuration?: object): Promise<OperatorProcess>;
  startSpokeOperator(): Promise<OperatorProcess>;
  /** Makes a ManagedCluster, which nobody is behind yet. */
  addCluster(name: string, labels: Readonly<Record<string, string>>): Promise<void>;
  /** Waits until a ManagedClusterModule fulfils a check. */
  eventually(name: string, check: (module: ManagedClusterModule) => void): Promise<ManagedClusterModule>;
}

/** Starts all but the operators. */
export async function startHubAndSpoke(): Promise<HubAndSpoke> {
  await using stack = new AsyncDisposableStack();
  const { path: directory } = stack.use(await createTemporaryDirectory());
  const starting = [
    startPrivateRegistry(),
    startInstalledCluster({ overlay: 'hub', prepare: installHubResources }),
    startInstalledCluster({ overlay: 'spoke', prepare: installHubResources }),
  ] as const;
  for (const one of await Promise.allSettled(starting)) if (one.status === 'fulfilled') stack.use(one.value);
  const [{ registry, repository }, hub, spoke] = await Promise.all(starting);
  const { host } = registry;
  await pushToolsForNextKernel(repository('build-tools'));
  const addCluster = async (name: string, labels: Readonly<Record<string, string>>): Promise<void> => {
    await hub.kubectl(['create', 'namespace', name]);
    await hub.client.create(managedClusters, {
      metadata: { name, labels },
      spec: { hubAcceptsClient: true, leaseDurationSeconds: 60 },
    });
  };
  await addCluster(spokeName, { 'wants-example-module': 'true' });
  const key = await makeKeyPair(directory);
  const { namespace } = hub.account;
  await createSigningSecrets(hub.kubectl, { namespace, key });
  await createPullSecret(hub.kubectl, { namespace, host });
  await setUpSpoke(spoke, host);
  await hub.kubectl(['apply', '--filename=-'], await readManifest('work-agent-on-hub', host));
  const process = await startWorkAgent({
    cluster: spokeName,
    hub: await hub.kubeconfigOf(agentOnHub),
    spoke: await spoke.kubeconfigOf(agent),
    namespace: agent.namespace,
    directory,
  });
  stack.defer(() => process.stop('SIGKILL'));
  stack.use(copyClaims({ spoke: spoke.client, hub: hub.client, cluster: spokeName }));
  const owned = stack.move();
  return {
    hub,
    spoke,
    registry,
    key,
    repository,
    addCluster,
    applyOnHub: async (name) => {
      await hub.kubectl(['apply', '--filename=-'], await readManifest(name, host));
    },
    startHubOperator(configuration = {}) {
      const { driverToolkit, job, ...rest } = configurationFor(host);
      const images = { ...driverToolkit.images, [nextKernel]: `${host}/build-tools:${nextKernel}` };
      const own = { driverToolkit: { images }, job: { ...job, gcDelay: '0s' } };
      return hub.startOperator({ ...rest, ...own, ...configuration });
    },
    startSpokeOperator: () =>
      spoke.startOperator({ loader: { image: signImage }, registry: { checkInterval: '5s' } }),
    eventually: (name, check) =>
      eventually(async () => {
        const module = parseManagedClusterModule(await hub.client.get(managedClusterModules, { name }));
        check(module);
        return module;
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** What administrators of a spoke have made: Open Cluster Management's agent, and a namespace for Modules. */
async function setUpSpoke({ kubectl, account }: InstalledCluster, host: string): Promise<void> {
  const namespace = spokeNamespace;
  await kubectl(['apply', '--filename=-'], await readManifest('work-agent-on-spoke', host));
  await kubectl(['create', 'namespace', namespace]);
  await allowReferences(kubectl, { namespace, account: `${account.namespace}:${account.name}` });
  await createPullSecret(kubectl, { namespace, host });
}
