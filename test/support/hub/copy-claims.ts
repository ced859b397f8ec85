import type { CustomResource } from '../../../src/controller/observe/cluster/resources.ts';
import { managedClusters } from '../../../src/controller/hub/fleet/managed-clusters.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { Informer } from '../../../src/controller/runtime/cache/informer.ts';
import { Controller } from '../../../src/controller/runtime/controller.ts';
import { silentLogger } from '../../../src/shared/logger.ts';
import { clusterClaims } from '../../../src/controller/spoke/claim-publisher.ts';

/** The number of claims that Open Cluster Management propagates by default. */
const maxClaims = 20;

interface Claim {
  readonly name: string;
  readonly value: unknown;
}

/**
 * Copies the ClusterClaims of a spoke into its ManagedCluster, as the registration agent does, until disposed
 * of.
 */
export function copyClaims({
  spoke,
  hub,
  cluster,
}: {
  readonly spoke: ApiClient;
  readonly hub: ApiClient;
  /** The ManagedCluster. */
  readonly cluster: string;
}): AsyncDisposable {
  const stop = new AbortController();
  const informer = new Informer({
    client: spoke,
    resource: clusterClaims,
    project: ({ metadata: { name }, spec }: CustomResource): Claim => ({
      name,
      value: (spec as { value: unknown }).value,
    }),
  });
  const controller = new Controller({
    name: 'copy-claims',
    log: silentLogger,
    reconcile: async () => {
      const claims = informer.list().toSorted((a, b) => (a.name < b.name ? -1 : 1));
      const status = { conditions: [], clusterClaims: claims.slice(0, maxClaims) };
      await hub.patch(managedClusters, { name: cluster }, { status }, { subresource: 'status' });
      return {};
    },
  });
  controller.watch(informer, () => [{ name: cluster }]);
  const { signal } = stop;
  const running = Promise.all([informer.run(signal), controller.run({ signal, gracePeriod: 1000 })]);
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}
