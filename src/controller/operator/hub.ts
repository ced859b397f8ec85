import { createHubCaches, createHubJobCaches } from '../hub/fleet/caches.ts';
import { createHubControllers } from '../hub/hub-controllers.ts';
import { checkDefinitions } from '../kmm-migration/definitions.ts';
import { ownPod, reportDefinitions } from '../kmm-migration/pod-condition.ts';
import type { ControllerSet, OperatorContext } from './context.ts';
import { registerGauge } from './kmm-metrics.ts';
import { createPipelineParts } from './pipeline-parts.ts';

/** Creates the parts of a hub's operator. */
export function hubControllers(context: OperatorContext): ControllerSet {
  const { configuration, client, events, metrics, registry, log } = context;
  const { namespace, hub: queue } = configuration;
  const caches = { ...createHubCaches(client, log), ...createHubJobCaches(client, namespace, log) };
  const parts = createPipelineParts(context, true);
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
  const count = (name: string, help: string, value: () => number) =>
    registerGauge(registry, name, help, value);
  count(
    'kmm_managedclustermodule_num',
    'Number of ManagedClusterModules.',
    () => caches.managedClusterModules.size,
  );
  count('kmm_hub_managed_cluster_num', 'Number of ManagedClusters.', () => caches.managedClusters.size);
  count('kmm_hub_waiting_job_num', 'Number of Jobs in the queue.', () => hub.waiting());
  driverToolkit.onChange(() => hub.refresh());
  return {
    controllers: hub.controllers,
    caches: Object.values(caches),
    async run(signal) {
      const report = (sentences: readonly string[]): Promise<void> =>
        reportDefinitions(client, ownPod(configuration), sentences, { signal });
      await Promise.all([
        parts.run(signal),
        checkDefinitions({ client, registry, log, of: 'hub', report }, signal),
      ]);
    },
  };
}
