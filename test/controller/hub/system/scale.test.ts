import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import { managedClusters } from '../../../../src/controller/hub/fleet/managed-clusters.ts';
import { createRuntimeMetrics } from '../../../../src/controller/runtime/metrics.ts';
import { clientThrough, reconciles } from '../../runtime/counting-client.ts';
import { createLoadFleet, type LoadFleet } from './load-fleet.ts';

const waiting = { timeout: 100_000, interval: 200 };

describeWith([...apiServerPrograms, 'ocm-work'], 'the hub with a fleet', () => {
  let fleet: LoadFleet;
  /** Writes of the operator, by method and resource. */
  const writes = new Map<string, number>();
  /** Its reads of one ManagedClusterModule: those that the API server answers from memory, by the media type that it accepts. */
  const reads: string[] = [];
  const readsFromStorage: string[] = [];
  const registry = new Registry();
  const controller = 'managed-cluster-module';
  let stop: () => Promise<void>;
  beforeAll(async () => {
    fleet = await createLoadFleet({ clusters: 80, modules: 10, kernels: 4, drivers: 8, groups: 2 });
    const client = await clientThrough(fleet.world.jobs.api.kubeconfig, (request, send) => {
      const resource = /\/(manifestworks|jobs|managedclustermodules)\b/.exec(request.path)?.[1];
      const key = `${request.method} ${resource}`;
      if (request.method !== 'GET' && resource !== undefined) writes.set(key, (writes.get(key) ?? 0) + 1);
      const isRead = request.method === 'GET' && resource === 'managedclustermodules';
      if (isRead && request.path.includes('/managedclustermodules/')) readsFromStorage.push(request.path);
      if (isRead && request.path.includes('fieldSelector=')) reads.push(request.headers['accept'] ?? '');
      return send(request);
    });
    stop = await fleet.world.startControllers({
      client,
      queue: { maxConcurrentJobs: 5 },
      foundTtl: 600_000,
      metrics: createRuntimeMetrics(registry),
    });
  }, 120_000);
  afterAll(async () => {
    await stop?.();
    await fleet?.[Symbol.asyncDispose]();
  });

  const converged = () =>
    vi.waitFor(() => {
      expect(fleet.progress()).toEqual({ works: fleet.works, ready: fleet.works });
    }, waiting);

  it('does each piece of work once for all modules, and writes each ManifestWork once', async () => {
    await fleet.createModules();
    await converged();
    expect(fleet.works).toBe(400);
    expect(fleet.jobs()).toHaveLength(fleet.distinctWork);
    expect(new Set(fleet.jobs()).size).toBe(fleet.distinctWork);
    expect(writesOf('manifestworks', 'POST')).toBe(fleet.works);
    expect(writesOf('manifestworks')).toBe(0);
    expect(writesOf('jobs', 'POST')).toBe(fleet.distinctWork);
    expect(fleet.tagged()).toEqual([]);
  }, 120_000);

  it('looks at an image when it is wanted, has a slot, a Job has ended, and that is in a status', async () => {
    // And not when it has created a Job or deleted it, nor for each slot that another image may get.
    expect((await reconciles(registry, 'hub-image')) / fleet.distinctWork).toBeLessThan(6.5);
  });

  it('asks for more than the metadata of a module only where it has changed meanwhile', () => {
    const metadata = reads.filter((accept) => accept.includes('as=PartialObjectMetadata')).length;
    expect(metadata).toBeGreaterThan(0);
    expect(reads.length - metadata).toBeLessThan(metadata / 2);
    expect(readsFromStorage).toEqual([]);
  });

  it('writes nothing at rest, although agents keep reporting', async () => {
    await vi.waitFor(async () => expect(await fleet.world.jobs.jobs('kmm-hub')).toEqual([]), waiting);
    await idle();
    const [before, reconciled] = [total(), await reconciles(registry, controller)];
    await fleet.world.publish('cluster-0', ['6.0.0-generic']);
    const labels = { seen: 'again' };
    await fleet.world.client.patch(managedClusters, { name: 'cluster-0' }, { metadata: { labels } });
    // Five of the ten modules select the cluster; each of them is reconciled again.
    await vi.waitFor(
      async () => expect(await reconciles(registry, controller)).toBeGreaterThanOrEqual(reconciled + 5),
      waiting,
    );
    await idle();
    expect(total()).toBe(before);
  }, 120_000);

  it('builds only the images of a new kernel, with one write per ManifestWork, when all kernels change', async () => {
    const [jobs, works] = [fleet.jobs().length, writesOf('manifestworks')];
    await fleet.upgrade();
    await converged();
    expect(fleet.jobs().length - jobs).toBe(fleet.distinctWorkOfKernel);
    expect(writesOf('manifestworks') - works).toBe(fleet.works);
    expect(writesOf('manifestworks', 'POST')).toBe(fleet.works);
    expect(fleet.workWrites()).toBe(2 * fleet.works);
    // Records of who manages which fields would make up a third of each.
    const recorded = (await fleet.world.works('module-0')).filter(
      ({ metadata }) => 'managedFields' in metadata,
    );
    expect(recorded).toEqual([]);
    expect(fleet.tagged()).toEqual([]);
  }, 120_000);

  /** Waits until nothing is being reconciled or queued. */
  function idle(): Promise<void> {
    return vi.waitFor(async () => {
      expect(await metric('workqueue_depth')).toBe(0);
      expect(await metric('controller_runtime_active_workers')).toBe(0);
    }, waiting);
  }
  async function metric(name: string): Promise<number> {
    const { values } = (await registry.getSingleMetric(name)?.get()) ?? { values: [] };
    if (values.length === 0) throw new Error(`there are no values of ${name}`);
    return values.reduce((sum, { value }) => sum + value, 0);
  }
  function writesOf(resource: string, method = 'PATCH'): number {
    return writes.get(`${method} ${resource}`) ?? 0;
  }
  function total(): number {
    return [...writes.values()].reduce((sum, count) => sum + count, 0);
  }
});
