import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { managedClusterModules } from '../../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { managedClusters } from '../../../src/controller/hub/fleet/managed-clusters.ts';
import { manifestWorks } from '../../../src/controller/hub/fleet/manifest-works.ts';
import { ApiError } from '../../../src/controller/runtime/api/errors.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { namespaces } from '../../support/namespaces.ts';
import { describeWith } from '../../support/programs.ts';
import { clientThrough } from '../runtime/counting-client.ts';
import { contentOf, startHubWorld, type HubWorld } from './hub-world.ts';

const kernel = '6.1.0-13-amd64';
const waiting = { timeout: 30_000, interval: 50 };
const finalizers = ['cluster.open-cluster-management.io/manifest-work-cleanup'];

describeWith([...apiServerPrograms, 'ocm-work'], 'a hub with a problem in one cluster', () => {
  let world: HubWorld;
  /** Namespaces in which ManifestWorks cannot be deleted, and the number of attempts. */
  const blocked = new Map<string, number>();
  beforeAll(async () => {
    world = await startHubWorld();
    const client = await clientThrough(world.jobs.api.kubeconfig, async (request, send) => {
      const [, namespace = ''] = /namespaces\/([^/]+)\/manifestworks\//.exec(request.path) ?? [];
      const tries = blocked.get(namespace);
      if (request.method !== 'DELETE' || tries === undefined) return send(request);
      blocked.set(namespace, tries + 1);
      throw new ApiError({ code: 'NETWORK', message: 'The test has cut the connection' });
    });
    await world.startControllers({ client });
  }, 120_000);
  afterAll(() => world?.[Symbol.asyncDispose]());

  async function clustersWithWork(name: string): Promise<string[]> {
    const works = await world.works(name);
    return works.map(({ metadata }) => metadata.namespace ?? '').toSorted();
  }

  const haveWork = (name: string, clusters: readonly string[]) =>
    vi.waitFor(async () => expect(await clustersWithWork(name)).toEqual(clusters), waiting);

  /** Creates clusters, and a ManagedClusterModule for them whose image exists. */
  async function rollOut(name: string, clusters: readonly string[]): Promise<void> {
    for (const cluster of clusters) await world.cluster(cluster, { for: name }, [kernel]);
    await world.jobs.push(world.jobs.image(`${name}:${kernel}`));
    await world.apply(name, {});
    await haveWork(name, clusters);
  }

  /** Does what the namespace controller does at last: it releases the namespace. */
  async function finalize(name: string): Promise<void> {
    const path = `/api/v1/namespaces/${name}/finalize`;
    const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name }, spec: { finalizers: [] } };
    await world.client.request({ method: 'PUT', path, body });
  }

  it('reports that its namespace is terminating, then missing, serves the others, and recovers when it exists again', async () => {
    const name = 'home';
    await rollOut(name, ['home-1', 'home-2']);
    const one = { name: 'home-2' };
    const work = { namespace: 'home-2', name };
    // The agent has not cleaned up yet.
    await world.client.patch(manifestWorks, work, { metadata: { finalizers } });
    await world.client.delete(namespaces, one);
    await world.client.delete(manifestWorks, work);
    await world.eventually(name, ({ status }) => {
      expect(status?.clusters).toContainEqual(
        expect.objectContaining({ ...one, phase: 'Applying', reason: 'WorkDeleting', applied: false }),
      );
    });
    await world.client.patch(manifestWorks, work, { metadata: { finalizers: null } });
    await world.eventually(name, ({ status }) => {
      expect(status?.phases).toEqual({ Failed: 1, Applying: 1 });
      expect(status?.clusters?.[0]).toMatchObject({ ...one, reason: 'ClusterNamespaceTerminating' });
    });
    await world.cluster('home-3', { for: name }, [kernel]);
    await haveWork(name, ['home-1', 'home-3']);
    await finalize('home-2');
    await world.eventually(name, ({ status }) => {
      expect(status?.phases).toEqual({ Failed: 1, Applying: 2 });
      expect(status?.clusters?.[0]).toMatchObject({ ...one, reason: 'ClusterNamespaceMissing' });
      expect(status?.clusters?.[0]?.message).toContain('The hub has no namespace home-2');
    });
    await world.client.create(namespaces, { metadata: one });
    await haveWork(name, ['home-1', 'home-2', 'home-3']);
    await world.eventually(name, ({ status }) => expect(status?.phases).toEqual({ Applying: 3 }));
  });

  it('creates and deletes the other ManifestWorks if one cannot be deleted, and deletes that one when it can', async () => {
    const name = 'held';
    await rollOut(name, ['held-1', 'held-2', 'held-3']);
    blocked.set('held-1', 0).set('held-2', 0);
    const moved = { metadata: { labels: { for: 'nobody' } } };
    for (const cluster of ['held-1', 'held-2', 'held-3']) {
      await world.client.patch(managedClusters, { name: cluster }, moved);
    }
    await world.cluster('held-4', { for: name }, [kernel]);
    await haveWork(name, ['held-1', 'held-2', 'held-4']);
    await world.eventually(name, ({ status }) => expect(status).toMatchObject({ numberDesired: 1 }));
    // It keeps trying although no event arrives.
    const tries = Math.max(...blocked.values());
    await vi.waitFor(() => expect(Math.min(...blocked.values())).toBeGreaterThan(tries + 3), waiting);
    blocked.clear();
    await haveWork(name, ['held-4']);
  });

  it('leaves a foreign ManifestWork of the same name alone', async () => {
    const name = 'chance';
    await world.cluster('chance-1', { for: name }, [kernel]);
    const manifest = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace: 'default', name } };
    const theirs = { namespace: 'chance-1', name };
    const spec = { workload: { manifests: [manifest] } };
    const { metadata } = await world.client.create(
      manifestWorks,
      { metadata: theirs, spec },
      { fieldManager: 'somebody' },
    );
    await world.cluster('chance-2', { for: name }, [kernel]);
    await world.jobs.push(world.jobs.image(`${name}:${kernel}`));
    await world.apply(name, {});
    await world.eventually(name, ({ status }) => {
      expect(status?.clusters).toMatchObject([
        { name: 'chance-1', phase: 'Failed', reason: 'Conflict' },
        { name: 'chance-2', phase: 'Applying' },
      ]);
    });
    expect(await world.client.get(manifestWorks, theirs)).toMatchObject({ metadata });
    await world.client.delete(managedClusterModules, { name });
  });

  it('takes back a ManifestWork of its own whose label somebody has removed', async () => {
    const name = 'hidden';
    await rollOut(name, ['hidden-1']);
    const key = { namespace: 'hidden-1', name };
    const labels = { 'kmm.node.kubernetes.io/managedclustermodule.name': null };
    const { metadata } = await world.client.patch(manifestWorks, key, { metadata: { labels } });
    expect(metadata.labels ?? {}).toEqual({});
    await haveWork(name, ['hidden-1']);
    const found = await world.client.get(manifestWorks, key);
    expect([found.metadata.uid, found.metadata.generation]).toEqual([metadata.uid, metadata.generation]);
  });

  it('accepts fields that others add to a ManifestWork', async () => {
    const name = 'added';
    await rollOut(name, ['added-1']);
    const key = { namespace: 'added-1', name };
    const serviceAccount = { namespace: 'default', name: 'executor' };
    const executor = { subject: { type: 'ServiceAccount', serviceAccount } };
    const { metadata } = await world.client.patch(manifestWorks, key, { spec: { executor } });
    const condition = { type: 'Applied', status: 'True', reason: 'AppliedManifestWorkComplete', message: '' };
    const said = {
      lastTransitionTime: new Date().toISOString(),
      observedGeneration: metadata.generation,
    };
    const status = { conditions: [{ ...condition, ...said }] };
    await world.client.patch(manifestWorks, key, { status }, { subresource: 'status' });
    await world.eventually(name, (module) => expect(module.status?.phases).toEqual({ Applied: 1 }));
    const after = await world.client.get(manifestWorks, key);
    expect(after).toMatchObject({ spec: { executor }, metadata: { generation: metadata.generation } });
  });

  it('deletes the ManifestWork of a cluster as soon as the deletion of the cluster begins', async () => {
    const name = 'leaving';
    await rollOut(name, ['leaving-1', 'leaving-2']);
    const cluster = { name: 'leaving-1' };
    // Open Cluster Management waits for ManifestWorks to go.
    const waits = { metadata: { finalizers: ['cluster.open-cluster-management.io/api-resource-cleanup'] } };
    await world.client.patch(managedClusters, cluster, waits);
    await world.client.delete(managedClusters, cluster);
    await haveWork(name, ['leaving-2']);
    await world.eventually(name, ({ status }) => expect(status).toMatchObject({ numberDesired: 1 }));
    await world.client.patch(managedClusters, cluster, { metadata: { finalizers: null } });
  });

  it('recreates a ManifestWork that was deleted, once it is gone', async () => {
    const name = 'again';
    await rollOut(name, ['again-1']);
    const key = { namespace: 'again-1', name };
    await world.client.patch(manifestWorks, key, { metadata: { finalizers } });
    const before = await world.client.get(manifestWorks, key);
    await world.client.delete(manifestWorks, key);
    await world.eventually(name, ({ status }) => {
      expect(status?.clusters).toMatchObject([{ phase: 'Applying', reason: 'WorkDeleting' }]);
    });
    await world.client.patch(manifestWorks, key, { metadata: { finalizers: null } });
    await vi.waitFor(async () => {
      const [work] = await world.works(name);
      expect(work?.metadata.uid).not.toBe(before.metadata.uid);
      expect(contentOf(work).kernels).toEqual([kernel]);
    }, waiting);
  });
});

/** The same, half a second later. */
async function* delayed<T>(events: AsyncIterable<T>): AsyncGenerator<T> {
  for await (const event of events) {
    await sleep(500);
    yield event;
  }
}

describeWith([...apiServerPrograms, 'ocm-work'], 'a hub that learns late of what it has written', () => {
  let world: HubWorld;
  const refusals: string[] = [];
  beforeAll(async () => {
    world = await startHubWorld();
    const client = await clientThrough(world.jobs.api.kubeconfig, async (request, send) => {
      const response = await send(request);
      if (response.statusCode === 409) refusals.push(`${request.method} ${request.path}`);
      const isLate = /\/managedclustermodules\?.*watch=true/.test(request.path);
      const events = response[Symbol.asyncIterator].bind(response);
      return isLate ? Object.assign(response, { [Symbol.asyncIterator]: () => delayed(events()) }) : response;
    });
    await world.startControllers({ client });
  }, 120_000);
  afterAll(() => world?.[Symbol.asyncDispose]());

  it('does not write a status over its own', async () => {
    const name = 'late';
    await world.cluster(name, { for: name }, [kernel]);
    await world.jobs.push(world.jobs.image(`${name}:${kernel}`));
    await world.apply(name, {});
    await world.eventually(name, ({ status }) => expect(status?.phases).toEqual({ Applying: 1 }));
    expect(refusals).toEqual([]);
  });
});
