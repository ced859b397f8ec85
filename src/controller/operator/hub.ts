import { Gauge } from 'prom-client';
import { createHubCaches, createHubJobCaches } from '../hub/fleet/caches.ts';
import { createHubControllers } from '../hub/hub-controllers.ts';
import type { ControllerSet, OperatorContext } from './context.ts';
import { createPipelineParts } from './pipeline-parts.ts';

/** Creates the parts of a hub's operator. */
export function hubControllers(context: OperatorContext): ControllerSet {
  const { configuration, client, events, metrics, registry, log } = context;
  const { namespace, hub: queue } = configuration;
  const caches = { ...createHubCaches(client, log), ...createHubJobCaches(client, namespace, log) };
  const parts = createPipelineParts(context, { oneNamespace: true });
  const { references, images, settings, driverToolkit } = parts;
  const hub = createHubControllers(
    {
      client,
      caches,
      references,
      images,
      events,
      log,
      namespace,
      queue,
      settings,
      metrics: parts.metrics,
    },
    { metrics },
  );
  const count = (name: string, help: string, value: () => number): void => {
    void new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(value());
      },
    });
  };
  count('kmm_managedclustermodule_num', 'ManagedClusterModules.', () => caches.managedClusterModules.size);
  count('kmm_hub_managed_cluster_num', 'ManagedClusters.', () => caches.managedClusters.size);
  count('kmm_hub_waiting_job_num', 'Jobs that wait until others have ended.', () => hub.waiting());
  driverToolkit.onChange(() => hub.refresh());
  return {
    controllers: hub.controllers,
    caches: Object.values(caches),
    run: (signal) => parts.run(signal),
  };
}
