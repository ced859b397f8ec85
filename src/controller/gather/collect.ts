import type { Collector } from './collector.ts';
import type { GatherPlan } from './plan.ts';
import { findReferences, type Reference } from './references.ts';
import type { ServedResources } from './served-resources.ts';

/**
 * Reads our resources and what belongs to them.
 * @param namespace the operator's, if it is known
 * @returns the operator's namespaces
 */
export async function collectObjects(
  collector: Collector,
  served: ServedResources,
  plan: GatherPlan,
  namespace: string | undefined,
): Promise<string[]> {
  if (namespace !== undefined) collector.namespaces.add(namespace);
  const { operatorName, ownGroup, clusterWide, operatorNamespace } = plan;
  const labelSelector = `app.kubernetes.io/name=${operatorName}`;
  await collector.list(served, ['apps', 'deployments'], { labelSelector, namespace });
  const found = collector.objects('apps', 'deployments').flatMap(({ metadata }) => metadata.namespace ?? []);
  const operatorNamespaces = namespace === undefined ? [...new Set(found)].toSorted() : [namespace];
  for (const one of operatorNamespaces) collector.namespaces.add(one);
  for (const { plural } of served.inGroup(ownGroup)) await collector.list(served, [ownGroup, plural]);
  for (const { resource, selection } of clusterWide) await collector.list(served, resource, selection);
  for (const one of operatorNamespaces) {
    for (const resource of operatorNamespace) await collector.list(served, resource, { namespace: one });
  }
  return operatorNamespaces;
}

/** Reads the objects that Modules refer to, and the accounts of their pods. */
export async function collectReferences(
  collector: Collector,
  served: ServedResources,
  plan: GatherPlan,
  operatorNamespaces: readonly string[],
): Promise<Reference[]> {
  const [hubNamespace = ''] = operatorNamespaces;
  const modules = collector.objects(...plan.referring);
  const references = modules.flatMap((module) => findReferences(module, hubNamespace));
  for (const { plural, key } of references.filter((one) => one.key.namespace !== '')) {
    await collector.get(served, ['', plural], key);
  }
  return references;
}

/** Reads the events of namespaces with Modules, and `default`, which has those of objects without a namespace. */
export async function collectEvents(
  collector: Collector,
  served: ServedResources,
  operatorNamespaces: readonly string[],
): Promise<void> {
  const namespaces = new Set(['default']);
  for (const [, , objects] of collector.all()) {
    for (const { metadata } of objects) {
      if (metadata.namespace !== undefined) namespaces.add(metadata.namespace);
    }
  }
  for (const namespace of [...namespaces].toSorted()) {
    if (!operatorNamespaces.includes(namespace)) await collector.list(served, ['', 'events'], { namespace });
  }
}
