import type { Logger } from '../../shared/logger.ts';
import { DaemonSetWriter } from '../module/daemon-set-writer.ts';
import type { ClusterCaches } from '../observe/cluster/caches.ts';
import { nodes, pods, type Pod } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { ignoreOutdated } from '../runtime/api/errors.ts';
import { Informer, objectOf } from '../runtime/cache/informer.ts';
import { Controller, type ReconcileResult } from '../runtime/controller.ts';
import type { ControllerMetrics } from '../runtime/metrics.ts';
import { isSameValue } from '../runtime/same-value.ts';
import { trustDaemonSet, trustName, trustPodLabels, type TrustOptions } from './daemon-set.ts';
import { onlyTrust, trustLabels } from './labels.ts';

/** The owner of the labels, so that those that others have written stay. */
const labelManager = 'kmm-operator-node-trust';

/** A pod that looks at a node. */
interface TrustPod {
  readonly nodeName: string | undefined;
  /** When it was created, in RFC 3339, and whether it ends: another replaces it. */
  readonly created: string;
  readonly deleting: boolean;
  /** Its last report; undefined before the first. */
  readonly report: string | undefined;
}

export interface TrustServices {
  readonly client: ApiClient;
  readonly caches: Pick<ClusterCaches, 'nodes' | 'daemonSets' | 'pods'>;
  /** Where the DaemonSet is, or was. */
  readonly namespace: string;
  /** Undefined: nothing is reported, and what was is removed. */
  readonly options: TrustOptions | undefined;
  readonly log: Logger;
  readonly metrics?: ControllerMetrics | undefined;
}

/**
 * Creates the controller that runs a pod on each node to look at what it trusts, and labels nodes by their
 * reports unless Node Feature Discovery does. Labels stay until there is another report: modules must not be
 * unloaded because a pod was replaced.
 */
export function createNodeTrust(services: TrustServices) {
  const { client, caches, namespace, options, log, metrics } = services;
  const selection = { namespace, labelSelector: Object.entries(trustPodLabels).flat().join('=') };
  const reports = new Informer({
    client,
    log,
    resource: pods,
    selection,
    project: projectPod,
    indexes: { node: ({ nodeName }) => (nodeName === undefined ? [] : [nodeName]) },
  });
  // Nodes have no namespace.
  const daemonSetKey = { namespace, name: trustName };
  const writer = new DaemonSetWriter(client, caches);
  const controller = new Controller({
    name: 'node-trust',
    log,
    metrics,
    reconcile: ({ namespace: within, name }, { signal }) =>
      within === undefined
        ? reconcileNode(services, reports.byIndex('node', name), { name, signal })
        : reconcileDaemonSet(services, writer, signal),
  });
  controller.watch(reports, (event) => {
    const { nodeName } = objectOf(event);
    return nodeName === undefined || event.type === 'deleted' ? [] : [{ name: nodeName }];
  });
  controller.watch(caches.nodes, (event) => {
    if (event.type === 'deleted') return [];
    const isSame =
      event.type === 'updated' &&
      isSameValue(onlyTrust(event.previous.labels), onlyTrust(event.object.labels));
    return isSame ? [] : [event.key];
  });
  controller.watch(caches.daemonSets, ({ key }) =>
    key.name === trustName && key.namespace === namespace ? [daemonSetKey] : [],
  );
  if (options !== undefined) controller.enqueue(daemonSetKey);
  return { controller, cache: reports };
}

function projectPod({ metadata, spec, status }: Pod): TrustPod {
  const [watching] = status?.containerStatuses ?? [];
  const [reporting] = status?.initContainerStatuses ?? [];
  // The container ends only when the facts have changed since the init container reported them.
  const last = watching?.state?.terminated?.message ?? watching?.lastState?.terminated?.message;
  const first = reporting?.state?.terminated;
  const report = last === undefined || last === '' ? first?.message : last;
  return {
    nodeName: spec?.nodeName,
    created: metadata.creationTimestamp ?? '',
    deleting: metadata.deletionTimestamp !== undefined,
    report: first?.exitCode === 0 ? report : undefined,
  };
}

async function reconcileDaemonSet(
  { caches, namespace, options }: TrustServices,
  writer: DaemonSetWriter,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const found = caches.daemonSets.get({ namespace, name: trustName });
  const apply = options === undefined ? [] : [trustDaemonSet(options)];
  const remove = options === undefined && found !== undefined ? [found] : [];
  await writer.write({ orphan: [], apply, remove }, signal);
  return {};
}

async function reconcileNode(
  { client, caches, options }: TrustServices,
  found: readonly TrustPod[],
  { name, signal }: { name: string; signal: AbortSignal },
): Promise<ReconcileResult> {
  const node = caches.nodes.get({ name });
  if (node === undefined) return {};
  const present = onlyTrust(node.labels);
  const wanted = wantedLabels(options, found);
  if (wanted === undefined || isSameValue(present, wanted)) return {};
  const object = { metadata: { name, uid: node.uid, labels: wanted } };
  await client
    .apply(nodes, object, { fieldManager: labelManager, force: true, signal })
    .catch(ignoreOutdated);
  return {};
}

/** Returns the labels that we should own; undefined to leave them as they are. */
function wantedLabels(
  options: TrustOptions | undefined,
  found: readonly TrustPod[],
): Record<string, string> | undefined {
  if (options === undefined || options.publisher === 'nfd') return {};
  const newest = found
    .filter((pod) => pod.report !== undefined)
    .toSorted((one, other) => (ageOf(one) < ageOf(other) ? 1 : -1))[0];
  return newest?.report === undefined ? undefined : trustLabels(newest.report);
}

/** Orders the pods of a node: what ends comes before what replaces it. */
function ageOf({ deleting, created }: TrustPod): string {
  return `${deleting ? 0 : 1} ${created}`;
}
