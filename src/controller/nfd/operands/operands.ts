import type { V1ObjectMeta } from '@kubernetes/client-node';
import { configMaps, daemonSets, fromLibrary, serviceAccounts } from '../../observe/cluster/resources.ts';
import type { KubernetesObject, ObjectKey } from '../../runtime/api/object-key.ts';
import type { Resource } from '../../runtime/api/resource.ts';
import {
  clusterRoleBindings,
  deployments,
  roleBindings,
  securityContextConstraints,
} from '../model/resources.ts';
import {
  clusterRoleBinding,
  clusterWideAccounts,
  hostPathAccounts,
  securityConstraints,
  serviceAccount,
  workerRoleBinding,
} from './access.ts';
import type { OperandInputs } from './common.ts';
import { garbageCollector } from './gc.ts';
import { master } from './master.ts';
import { topologyUpdater } from './topology-updater.ts';
import { worker, workerConfiguration } from './worker.ts';

/** An object that is to be there. */
export interface WantedObject {
  readonly resource: Resource;
  readonly object: KubernetesObject;
}

/** An object that is not to be there. */
interface UnwantedObject {
  readonly resource: Resource;
  readonly key: ObjectKey;
}

/** Whether nfd-topology-updater is asked for, in either spelling. */
function wantsTopology({ spec }: OperandInputs): boolean {
  return spec.topologyUpdater ?? spec.topologyupdater ?? false;
}

/** Returns all objects of NFD, each after those that it needs. */
export function wantedObjects(inputs: OperandInputs): WantedObject[] {
  const { namespace, isOpenShift } = inputs;
  const hasTopology = wantsTopology(inputs);
  const isWanted = (name: string): boolean => hasTopology || name !== 'nfd-topology-updater';
  return [
    ...(['nfd-master', 'nfd-worker', 'nfd-gc', 'nfd-topology-updater'] as const)
      .filter(isWanted)
      .map((name) => wanted(serviceAccounts, serviceAccount(name, inputs))),
    ...clusterWideAccounts
      .filter(isWanted)
      .map((name) => wanted(clusterRoleBindings, clusterRoleBinding(name, inputs))),
    wanted(roleBindings, workerRoleBinding(inputs)),
    ...(isOpenShift ? hostPathAccounts : []).filter(isWanted).map((name) => ({
      resource: securityContextConstraints,
      object: securityConstraints(name, namespace),
    })),
    wanted(configMaps, workerConfiguration(inputs)),
    wanted(deployments, master(inputs)),
    wanted(daemonSets, worker(inputs)),
    wanted(deployments, garbageCollector(inputs)),
    ...(hasTopology ? [wanted(daemonSets, topologyUpdater(inputs))] : []),
  ];
}

/** Returns what is left if nfd-topology-updater was asked for before. */
export function unwantedObjects(inputs: OperandInputs): UnwantedObject[] {
  if (wantsTopology(inputs)) return [];
  const { namespace, isOpenShift } = inputs;
  const name = 'nfd-topology-updater';
  return [
    { resource: daemonSets, key: { namespace, name } },
    { resource: clusterRoleBindings, key: { name } },
    ...(isOpenShift ? [{ resource: securityContextConstraints, key: { name } }] : []),
    { resource: serviceAccounts, key: { namespace, name } },
  ];
}

/** Returns the workloads that label nodes, which must end before nodes can be pruned. */
export function labellingWorkloads(namespace: string): UnwantedObject[] {
  return [
    { resource: daemonSets, key: { namespace, name: 'nfd-worker' } },
    { resource: daemonSets, key: { namespace, name: 'nfd-topology-updater' } },
    { resource: deployments, key: { namespace, name: 'nfd-master' } },
  ];
}

/** Returns the objects outside the namespace, which no owner can take with it. */
export function objectsOfCluster(isOpenShift: boolean): UnwantedObject[] {
  return [
    ...clusterWideAccounts.map((name) => ({ resource: clusterRoleBindings, key: { name } })),
    ...(isOpenShift ? hostPathAccounts : []).map((name) => ({
      resource: securityContextConstraints,
      key: { name },
    })),
  ];
}

function wanted(resource: Resource, object: { metadata?: V1ObjectMeta }): WantedObject {
  return { resource, object: fromLibrary(object) };
}
