import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { parseManagedClusterModule } from '../../../../src/api/managed-cluster-module.ts';
import { createHubCaches, type HubCaches } from '../../../../src/controller/hub/fleet/caches.ts';
import { createManifestWorkFactory } from '../../../../src/controller/hub/work/manifest-work.ts';
import { managedClusterModules } from '../../../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { managedClusters } from '../../../../src/controller/hub/fleet/managed-clusters.ts';
import { manifestWorks } from '../../../../src/controller/hub/fleet/manifest-works.ts';
import type { ApiClient } from '../../../../src/controller/runtime/api/client.ts';
import { silentLogger } from '../../../../src/shared/logger.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../../../support/api-server.ts';
import { installHubResources } from '../../../support/hub/crds.ts';
import { namespaces } from '../../../support/namespaces.ts';
import { describeWith } from '../../../support/programs.ts';
import { resource } from '../example-module.ts';
import { modulesSelecting } from '../../../../src/controller/hub/fleet/managed-clusters.ts';

function claims(value: string): object {
  const clusterClaims = [{ name: 'kernel-versions.kmm.node.kubernetes.io', value }];
  return { status: { conditions: [], clusterClaims } };
}

const eventually = { timeout: 30_000, interval: 100 };
const wanted = resource({ kernelMappings: [{ regexp: '.', containerImage: 'a/b:c' }] });

describeWith([...apiServerPrograms, 'ocm-work'], 'the caches of the hub', () => {
  let server: ApiServer;
  let client: ApiClient;
  let caches: HubCaches;
  const stop = new AbortController();
  let running: Promise<unknown>;
  /** ManagedClusterModules affected by changes of clusters, in order. */
  const concerned: string[][] = [];
  beforeAll(async () => {
    server = await startApiServer();
    client = await server.client();
    await installHubResources(client);
    caches = createHubCaches(client, silentLogger);
    caches.managedClusters.onEvent((event) => {
      const keys = modulesSelecting(event, caches.managedClusterModules.list());
      concerned.push(keys.map(({ name }) => name));
    });
    running = Promise.all(Object.values(caches).map((cache) => cache.run(stop.signal)));
  }, 120_000);
  afterAll(async () => {
    stop.abort();
    await running;
    await server?.[Symbol.asyncDispose]();
  });

  const seen = async (...expected: string[][]): Promise<void> => {
    await vi.waitFor(() => {
      if (concerned.length < expected.length) throw new Error('not all events are there');
    }, eventually);
    expect(concerned.splice(0)).toEqual(expected);
  };

  it('have ManagedClusterModules, and their ManifestWorks by owner', async () => {
    const created = parseManagedClusterModule(
      await client.create(managedClusterModules, { ...wanted, metadata: { name: 'driver' } }),
    );
    await client.create(namespaces, { metadata: { name: 'cluster-1' } });
    const { object } = createManifestWorkFactory(created)('cluster-1', []);
    await client.apply(manifestWorks, object);
    await vi.waitFor(() => {
      expect(caches.managedClusterModules.get({ name: 'driver' })?.resource).toEqual(created);
      const owned = caches.manifestWorks.byIndex('owner', created.metadata.uid ?? '');
      expect(owned.map(({ key }) => key)).toEqual([{ namespace: 'cluster-1', name: 'driver' }]);
    }, eventually);
  });

  it('tell which ManagedClusterModules select a cluster that is added, changes its kernels, leaves the selection or sends a heartbeat', async () => {
    const name = 'cluster-1';
    await client.create(managedClusters, {
      metadata: { name, labels: { driver: 'wanted' } },
      spec: { hubAcceptsClient: true, leaseDurationSeconds: 60 },
    });
    await seen(['driver']);
    await client.patch(managedClusters, { name }, claims('6.1.0-9'), { subresource: 'status' });
    await seen(['driver']);
    expect(caches.managedClusters.get({ name })?.kernels.releases).toEqual(['6.1.0-9']);
    await client.patch(managedClusters, { name }, { metadata: { annotations: { beat: '1' } } });
    await seen([]);
    await client.patch(managedClusters, { name }, { metadata: { labels: { driver: null } } });
    await seen(['driver']);
    await client.delete(managedClusters, { name });
    await seen([]);
  });
});
