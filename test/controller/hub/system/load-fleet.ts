import pLimit from 'p-limit';
import { jobs, type CustomResource, type Job } from '../../../../src/controller/observe/cluster/resources.ts';
import { managedClusterModules } from '../../../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { manifestWorks } from '../../../../src/controller/hub/fleet/manifest-works.ts';
import { Informer } from '../../../../src/controller/runtime/cache/informer.ts';
import { isApiError } from '../../../../src/controller/runtime/api/errors.ts';
import { contentOf, hubNamespace, startHubWorld, type HubWorld } from '../hub-world.ts';
import { PreparedImages } from './prepared-images.ts';

/** The size of a fleet. */
export interface FleetSize {
  readonly clusters: number;
  readonly modules: number;
  readonly kernels: number;
  /** Distinct drivers: further ManagedClusterModules share the images of the first. */
  readonly drivers: number;
  /** Groups of clusters. Each ManagedClusterModule is for one. */
  readonly groups: number;
}

/** A hub with a fleet of objects: the test does the work of the clusters' agents and of Jobs. */
export interface LoadFleet extends AsyncDisposable {
  readonly world: HubWorld;
  /** The expected number of ManifestWorks. */
  readonly works: number;
  /** The number of distinct builds and signatures. */
  readonly distinctWork: number;
  /** The same for a further kernel. */
  readonly distinctWorkOfKernel: number;
  /** Creates the ManagedClusterModules. */
  createModules(): Promise<void>;
  /** Gives every cluster the kernel after its own; for the last one this is a new one. */
  upgrade(): Promise<void>;
  /** Counts the ManifestWorks for their cluster's kernel, and the clusters that are Ready by the status of all. */
  progress(): { readonly works: number; readonly ready: number };
  /** Names of all Jobs that were ever created. A duplicate name is duplicate work. */
  jobs(): readonly string[];
  /** How often ManifestWorks were written, the first time included. */
  workWrites(): number;
  /** ManifestWorks that ever named an image for a kernel by its tag. */
  tagged(): readonly string[];
}

/** Concurrent requests of each simulated part. */
const concurrency = 16;

/** Starts a hub and fills it with clusters. */
export async function createLoadFleet(size: FleetSize): Promise<LoadFleet> {
  const { clusters, modules, kernels, drivers, groups } = size;
  const world = await startHubWorld();
  const limit = pLimit(concurrency);
  const each = async (count: number, work: (index: number) => Promise<unknown>): Promise<void> => {
    await Promise.all(Array.from({ length: count }, (_, index) => limit(() => work(index))));
  };
  let upgrades = 0;
  const kernelOf = (cluster: number): string => `6.${(cluster % kernels) + upgrades}.0-generic`;
  const groupOf = (cluster: number): string => `group-${Math.floor(cluster / kernels) % groups}`;
  await each(clusters, (index) =>
    world.cluster(`cluster-${index}`, { group: groupOf(index) }, [kernelOf(index)]),
  );
  const signed = Array.from({ length: drivers }, (_, driver) => driver).filter(isSigned).length;
  const prepared = new PreparedImages(world.jobs);
  await each(drivers, async (driver) => {
    // One for each kernel, and one for the kernel of an upgrade.
    for (let index = 0; index <= kernels; index += 1) {
      await prepared.add(`driver-${driver}`, `${index}`, isSigned(driver));
    }
  });
  const simulation = await startSimulation(world, prepared);
  return {
    world,
    works: sum(modules, (module) =>
      sum(clusters, (one) => Number(groupOf(one) === groupOfModule(module, groups))),
    ),
    distinctWork: (drivers + signed) * kernels,
    distinctWorkOfKernel: drivers + signed,
    createModules: () => each(modules, (index) => createModule(world, index, size)),
    async upgrade() {
      upgrades += 1;
      await each(clusters, (index) => world.publish(`cluster-${index}`, [kernelOf(index)]));
    },
    progress() {
      const right = simulation.works
        .list()
        .filter((work) => work.kernels.includes(kernelOf(Number(work.cluster.slice('cluster-'.length)))));
      const ready = simulation.modules.list().reduce((total, count) => total + count, 0);
      return { works: right.length, ready };
    },
    jobs: () => simulation.jobs,
    workWrites: () => simulation.works.list().reduce((total, { generation }) => total + generation, 0),
    tagged: () => simulation.tagged,
    async [Symbol.asyncDispose]() {
      await simulation[Symbol.asyncDispose]();
      await world[Symbol.asyncDispose]();
    },
  };
}

/** Every fourth driver is signed. */
function isSigned(driver: number): boolean {
  return driver % 4 === 0;
}

function groupOfModule(module: number, groups: number): string {
  return `group-${module % groups}`;
}

async function createModule(world: HubWorld, index: number, { drivers, groups }: FleetSize): Promise<void> {
  const driver = index % drivers;
  const secret = { name: 'signing' };
  const container = {
    modprobe: { moduleName: 'hello', dirName: '/opt' },
    containerImage: world.jobs.image(`driver-${driver}:\${KERNEL_FULL_VERSION}`),
    registryTLS: { insecure: true },
    kernelMappings: [{ regexp: '^.+$' }],
    build: { dockerfileConfigMap: { name: 'build' } },
    ...(isSigned(driver) ? { sign: { keySecret: secret, certSecret: secret } } : {}),
  };
  await world.client.create(managedClusterModules, {
    metadata: { name: `module-${index}` },
    spec: {
      selector: { group: groupOfModule(index, groups) },
      spokeNamespace: 'drivers',
      moduleSpec: { moduleLoader: { container }, selector: {} },
    },
  });
}

/** The part of a ManifestWork that is cached. */
interface SeenWork {
  readonly cluster: string;
  readonly kernels: readonly string[];
  readonly generation: number;
}

interface Simulation extends AsyncDisposable {
  readonly jobs: readonly string[];
  readonly tagged: readonly string[];
  readonly works: Informer<CustomResource, SeenWork>;
  /** Counts of clusters that are Ready. */
  readonly modules: Informer<CustomResource, number>;
}

/** Starts what does the work of Jobs, and that of the clusters' agents with ManifestWorks. */
async function startSimulation({ client }: HubWorld, prepared: PreparedImages): Promise<Simulation> {
  // Agents with many reports do not delay Jobs.
  const limits = { jobs: pLimit(concurrency), agents: pLimit(concurrency) };
  const stop = new AbortController();
  const tagged: string[] = [];
  const names: string[] = [];
  const pending = new Set<Promise<void>>();
  const seen = new Set<string>();
  const simulate = (who: keyof typeof limits, id: string, work: () => Promise<unknown>): void => {
    if (seen.has(id)) return;
    seen.add(id);
    const task = limits[who](async () => {
      await work().catch((error: unknown) => {
        if (!isApiError(error, 'NOT_FOUND') && !stop.signal.aborted) throw error;
      });
    }).finally(() => pending.delete(task));
    pending.add(task);
  };
  const jobCache = new Informer<Job, undefined>({
    client,
    resource: jobs,
    selection: { namespace: hubNamespace },
    project: (job) => {
      const { name, uid = '', labels = {} } = job.metadata;
      if (!seen.has(uid)) names.push(name);
      const isBuild = labels['kmm.node.kubernetes.io/job-type'] === 'build';
      simulate('jobs', uid, () => (isBuild ? prepared.build(job) : prepared.sign(job)));
      return undefined;
    },
  });
  const workCache = new Informer<CustomResource, SeenWork>({
    client,
    resource: manifestWorks,
    project: (work) => {
      const { generation = 0, uid, namespace = '' } = work.metadata;
      const { images, kernels } = contentOf(work);
      if (!images.every((image) => image?.includes('@sha256:'))) tagged.push(namespace);
      simulate('agents', `${uid} ${generation}`, () =>
        client.patch(
          manifestWorks,
          work.metadata,
          { status: appliedStatus(work) },
          { subresource: 'status' },
        ),
      );
      return { cluster: namespace, kernels, generation };
    },
  });
  const moduleCache = new Informer<CustomResource, number>({
    client,
    resource: managedClusterModules,
    project: (module) => {
      const { phases } = Object(module.status) as { phases?: Record<string, number> };
      return phases?.['Ready'] ?? 0;
    },
  });
  const running = Promise.all([jobCache, workCache, moduleCache].map((cache) => cache.run(stop.signal)));
  return {
    jobs: names,
    tagged,
    works: workCache,
    modules: moduleCache,
    async [Symbol.asyncDispose]() {
      stop.abort();
      for (const limit of Object.values(limits)) limit.clearQueue();
      await running;
      await Promise.all(pending);
    },
  };
}

function feedbackOf(name: string, integer: number): object {
  return { name, fieldValue: { type: 'Integer', integer } };
}

/** What an agent reports when the operator of its cluster has loaded the module. */
function appliedStatus(work: CustomResource): object {
  const { generation = 0 } = work.metadata;
  const condition = (type: string) => ({
    type,
    status: 'True',
    reason: 'Done',
    message: '',
    lastTransitionTime: new Date().toISOString(),
    observedGeneration: generation,
  });
  return {
    conditions: [condition('Applied'), condition('Available')],
    resourceStatus: {
      manifests: [
        {
          conditions: [condition('Applied')],
          resourceMeta: { ordinal: 0 },
          statusFeedback: {
            values: [
              feedbackOf('generation', generation),
              feedbackOf('observedGeneration', generation),
              feedbackOf('moduleLoader.availableNumber', 3),
              feedbackOf('moduleLoader.desiredNumber', 3),
              { name: 'ready.status', fieldValue: { type: 'String', string: 'True' } },
            ],
          },
        },
      ],
    },
  };
}

function sum(count: number, value: (index: number) => number): number {
  return Array.from({ length: count }, (_, index) => value(index)).reduce((total, one) => total + one, 0);
}
