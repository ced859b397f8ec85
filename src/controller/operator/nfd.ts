import { configMaps, daemonSets, jobs } from '../observe/cluster/resources.ts';
import type { ControllerSet, OperatorContext } from './context.ts';
import type { KubernetesObject } from '../runtime/api/object-key.ts';
import type { Resource } from '../runtime/api/resource.ts';
import { Informer } from '../runtime/cache/informer.ts';
import { Controller } from '../runtime/controller.ts';
import { createDiscoveryCache } from '../nfd/cache.ts';
import { managedLabel } from '../nfd/operands/common.ts';
import { reconcileDiscovery } from '../nfd/reconcile.ts';
import { deployments } from '../nfd/model/resources.ts';
import { createRulesController } from '../nfd/rules.ts';

/** What of the operator's namespace is written again when others change it, and what a status depends on. */
const followedResources: readonly Resource[] = [deployments, daemonSets, jobs, configMaps];

/** Milliseconds from a change of a workload until its status is looked at: several pods start at a time. */
const settleDelay = 500;

/** Creates the parts of `kmm-operator nfd`. */
export function nfdControllers(context: OperatorContext): ControllerSet {
  const { configuration, client, metrics, log } = context;
  const { namespace, nodeFeatureDiscovery } = configuration;
  const discoveries = createDiscoveryCache(client, namespace, log);
  const services = { client, discoveries, image: nodeFeatureDiscovery.image };
  const controller = new Controller({
    name: 'node-feature-discovery',
    log,
    metrics: metrics.controller('node-feature-discovery', 1),
    reconcile: (key, { signal }) => reconcileDiscovery(services, key, signal),
  });
  // All of them: when the one that deploys is deleted, the next one does.
  const allKeys = () => discoveries.list().map(({ key }) => key);
  controller.watch(discoveries, allKeys);
  const [[label, value] = []] = Object.entries(managedLabel);
  const selection = { namespace, labelSelector: `${label}=${value}` };
  const followed = followedResources.map((resource) => {
    const informer = new Informer({ client, log, resource, selection, project: nameOf });
    controller.watch(informer, allKeys, settleDelay);
    return informer;
  });
  const rules = createRulesController({
    client,
    log,
    metrics: metrics.controller('node-feature-rules', 1),
  });
  return {
    controllers: [controller, rules.controller],
    caches: [discoveries, ...followed, ...rules.caches],
    run: rules.run,
  };
}

function nameOf({ metadata }: KubernetesObject): { readonly name: string } {
  return { name: metadata.name };
}
