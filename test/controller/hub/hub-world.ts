import { vi } from 'vitest';
import {
  parseManagedClusterModule,
  type ManagedClusterModule,
} from '../../../src/api/managed-cluster-module.ts';
import type { Module } from '../../../src/api/module/module.ts';
import type { DriverToolkitTable } from '../../../src/builder/driver-toolkit.ts';
import type { CustomResource, Job } from '../../../src/controller/observe/cluster/resources.ts';
import { createHubCaches, createHubJobCaches } from '../../../src/controller/hub/fleet/caches.ts';
import { createHubControllers } from '../../../src/controller/hub/hub-controllers.ts';
import { managedClusterModules } from '../../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { managedClusters } from '../../../src/controller/hub/fleet/managed-clusters.ts';
import { manifestWorks } from '../../../src/controller/hub/fleet/manifest-works.ts';
import type { HubSettings } from '../../../src/controller/configuration/configuration.ts';
import { ImageRegistry } from '../../../src/controller/observe/images/image-registry.ts';
import { ReferenceCache } from '../../../src/controller/observe/references/reference-cache.ts';
import type { RuntimeMetrics } from '../../../src/controller/runtime/metrics.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { listAll } from '../../../src/controller/runtime/api/list.ts';
import {
  EventRecorder,
  events,
  type KubernetesEvent,
} from '../../../src/controller/runtime/event-recorder.ts';
import { silentLogger } from '../../../src/shared/logger.ts';
import type { ApiServer } from '../../support/api-server.ts';
import { installHubResources } from '../../support/hub/crds.ts';
import { Started } from '../../support/second-tries.ts';
import { namespaces } from '../../support/namespaces.ts';
import { startModuleWorld, type ModuleWorld } from '../module/module-world.ts';

/** The hub operator's namespace. */
export const hubNamespace = 'kmm-hub';

interface WorkContent {
  readonly workload: { readonly manifests: readonly { readonly spec: Module['spec'] }[] };
}

/** Returns the images that a ManifestWork names for kernels, these kernels, and its workload as JSON. */
export function contentOf(work: CustomResource | undefined): {
  images: (string | undefined)[];
  kernels: string[];
  text: string;
} {
  if (work === undefined) throw new Error('no ManifestWork');
  const { workload } = work.spec as WorkContent;
  const mappings = workload.manifests[0]?.spec.moduleLoader?.container.kernelMappings ?? [];
  return {
    images: mappings.flatMap(({ literal, containerImage }) =>
      literal === undefined ? [] : [containerImage],
    ),
    kernels: mappings.flatMap(({ literal }) => literal ?? []),
    get text() {
      return JSON.stringify(workload);
    },
  };
}

const waiting = { timeout: 30_000, interval: 50 };

export interface HubOptions {
  /** @default at most 100 Jobs */
  readonly queue?: HubSettings;
  /** Sends the requests. @default a client of its own */
  readonly client?: ApiClient;
  /** Driver Toolkit images. @default none */
  readonly driverToolkit?: DriverToolkitTable;
  readonly metrics?: RuntimeMetrics | undefined;
  /** Milliseconds for which what is found in the registry counts. @default 500 */
  readonly foundTtl?: number | undefined;
}

/** A hub: an API server, a registry and the hub's controllers; the test does the work of Jobs. */
export interface HubWorld extends AsyncDisposable {
  readonly jobs: ModuleWorld;
  readonly client: ApiClient;
  /** Starts the controllers, and returns the function that stops them. */
  startControllers(options?: HubOptions): Promise<() => Promise<void>>;
  /** Advances the controllers' clock by a number of milliseconds. */
  later(milliseconds: number): void;
  /** Creates a ManagedCluster with its namespace, and publishes its kernels. */
  cluster(name: string, labels: Readonly<Record<string, string>>, kernels?: readonly string[]): Promise<void>;
  publish(name: string, kernels: readonly string[]): Promise<void>;
  /** Applies a ManagedClusterModule that selects the clusters with the label `for: NAME`. */
  apply(name: string, container: object, more?: object): Promise<void>;
  module(name: string): Promise<ManagedClusterModule>;
  eventually(name: string, check: (module: ManagedClusterModule) => void): Promise<ManagedClusterModule>;
  works(name: string): Promise<CustomResource[]>;
  /** Waits until there is the expected number of active Jobs of a kind. */
  activeJobs(kind: 'build' | 'sign', count: number): Promise<Job[]>;
  /** Waits until the events, which follow a change of status, fulfil a check. */
  events(name: string, check: (events: readonly KubernetesEvent[]) => void): Promise<void>;
}

/** Starts a hub, on an API server of its own if none is given. */
export async function startHubWorld(given?: ApiServer): Promise<HubWorld> {
  const jobs = await startModuleWorld(given);
  const { client, api } = jobs;
  if (given === undefined) await installHubResources(client);
  await jobs.namespace(hubNamespace);
  const started = new Started();
  let ahead = 0;
  const now = (): number => Date.now() + ahead;
  const world: HubWorld = {
    jobs,
    client,
    async startControllers(options) {
      const stop = await runControllers(api, { ...options, now });
      started.add(stop);
      return stop;
    },
    later(milliseconds) {
      ahead += milliseconds;
    },
    async cluster(name, labels, kernels) {
      await client.create(namespaces, { metadata: { name } });
      await client.create(managedClusters, {
        metadata: { name, labels },
        spec: { hubAcceptsClient: true, leaseDurationSeconds: 60 },
      });
      if (kernels !== undefined) await world.publish(name, kernels);
    },
    async publish(name, kernels) {
      const value = kernels.toSorted().join('\n');
      const clusterClaims = [{ name: 'kernel-versions.kmm.node.kubernetes.io', value }];
      const status = { conditions: [], clusterClaims };
      await client.patch(managedClusters, { name }, { status }, { subresource: 'status' });
    },
    async apply(name, container, more = {}) {
      const moduleSpec = {
        moduleLoader: {
          container: {
            modprobe: { moduleName: 'hello', dirName: '/opt' },
            containerImage: jobs.image(`${name}:\${KERNEL_FULL_VERSION}`),
            registryTLS: { insecure: true },
            kernelMappings: [{ regexp: '^.+$' }],
            ...container,
          },
        },
        selector: {},
        ...more,
      };
      const spec = { selector: { for: name }, spokeNamespace: 'drivers', moduleSpec };
      await client.apply(
        managedClusterModules,
        { metadata: { name }, spec },
        { force: true, fieldManager: 'user' },
      );
    },
    module: async (name) => parseManagedClusterModule(await client.get(managedClusterModules, { name })),
    eventually: (name, check) =>
      vi.waitFor(async () => {
        const module = await world.module(name);
        check(module);
        return module;
      }, waiting),
    works: async (name) => {
      const works = await listAll(client, manifestWorks, {});
      return works.filter(({ metadata }) => metadata.name === name);
    },
    activeJobs: (kind, count) =>
      vi.waitFor(async () => {
        const found = (await jobs.jobs(hubNamespace)).filter(
          ({ metadata, status }) =>
            metadata.labels?.['kmm.node.kubernetes.io/job-type'] === kind && status?.conditions === undefined,
        );
        if (found.length !== count) throw new Error(`${found.length} active ${kind} Jobs`);
        return found;
      }, waiting),
    events: (name, check) =>
      vi.waitFor(async () => {
        const all = await listAll(client, events, { namespace: 'default' });
        check(all.filter(({ regarding }) => regarding['name'] === name));
      }, waiting),
    async [Symbol.asyncDispose]() {
      await started[Symbol.asyncDispose]();
      await jobs[Symbol.asyncDispose]();
    },
  };
  return world;
}

async function runControllers(
  api: ApiServer,
  {
    queue = { maxConcurrentJobs: 100 },
    client: given,
    driverToolkit = new Map(),
    metrics,
    foundTtl = 500,
    now,
  }: HubOptions & { readonly now: () => number },
): Promise<() => Promise<void>> {
  const client = given ?? (await api.client(undefined, 'kmm-operator'));
  const stop = new AbortController();
  const log = silentLogger;
  const caches = {
    ...createHubCaches(client, log),
    ...createHubJobCaches(client, hubNamespace, log),
  };
  const references = new ReferenceCache(client, log);
  const images = new ImageRegistry({ userAgent: 'kmm-sign-tests', missingTtl: 200, foundTtl });
  const { controllers } = createHubControllers(
    {
      client,
      caches,
      references,
      images,
      log,
      now,
      queue,
      namespace: hubNamespace,
      events: new EventRecorder(client, 'kmm.sigs.x-k8s.io/hub', 'test'),
      settings: {
        builder: 'kaniko',
        userNamespaces: false,
        signImage: 'ghcr.io/kmm-sign/kmm-sign:test',
        backoffLimit: 1,
        backoff: 500,
        gcDelay: 0,
        driverToolkit: () => driverToolkit,
      },
    },
    { metrics, feedbackDelay: 20, outcomeDelay: 0, statusInterval: 200, backoff: { first: 5, limit: 1000 } },
  );
  const running = Promise.all([
    ...Object.values(caches).map((cache) => cache.run(stop.signal)),
    references.run(stop.signal),
    ...controllers.map((controller) => controller.run({ signal: stop.signal, gracePeriod: 1000 })),
  ]);
  return async () => {
    stop.abort();
    await running;
    await images.close();
  };
}
