import {
  clusterPhases,
  maxListedClusters,
  maxListedImages,
  type ClusterPhase,
  type ClusterStatus,
  type HubImageStatus,
  type ManagedClusterModule,
  type ManagedClusterModuleStatus,
} from '../../../api/managed-cluster-module.ts';
import { toConditions, type Finding } from '../../module/conditions.ts';

/** The longest reason and message in the status, in characters. */
const maxReason = 64;
const maxMessage = 256;
/** How many characters of a shortened message come from its beginning. */
const messageStart = 96;
/** The most clusters that a condition names. */
const maxNamed = 3;

/**
 * Returns the status of a ManagedClusterModule: counts of all clusters, and a list of those that are not
 * Ready, the worst first. Its size is bounded however many clusters there are; their order does not matter.
 * @param resource its conditions keep their transition times if they do not change
 * @param clusters one per cluster that the selector matches
 * @param images those for the kernels of the clusters
 * @param now RFC 3339
 */
export function managedClusterModuleStatusOf(
  resource: ManagedClusterModule,
  clusters: readonly ClusterStatus[],
  images: readonly HubImageStatus[],
  now: string,
): ManagedClusterModuleStatus {
  const observedGeneration = resource.metadata.generation;
  const byPhase = groupByPhase(clusters);
  const notReady = clusterPhases
    .filter((phase) => phase !== 'Ready')
    .flatMap((phase) => byPhase.get(phase) ?? []);
  return {
    ...(observedGeneration === undefined ? {} : { observedGeneration }),
    conditions: toConditions(findingsOf(clusters.length, byPhase), {
      earlier: resource.status?.conditions,
      generation: observedGeneration,
      now,
    }),
    numberDesired: clusters.length,
    numberApplied: clusters.filter(({ applied }) => applied === true).length,
    numberDegraded: clusters.filter(({ degraded }) => degraded === true).length,
    phases: Object.fromEntries(
      clusterPhases.flatMap((phase) => {
        const count = byPhase.get(phase)?.length ?? 0;
        return count === 0 ? [] : [[phase, count]];
      }),
    ),
    clusters: notReady.slice(0, maxListedClusters).map(shorten),
    images: images.slice(0, maxListedImages).map(shorten),
  };
}

function shorten<T extends { reason?: string | undefined; message?: string | undefined }>(entry: T): T {
  const { reason, message } = entry;
  return {
    ...entry,
    ...(reason === undefined ? {} : { reason: reason.slice(0, maxReason) }),
    ...(message === undefined ? {} : { message: cutMiddle(message) }),
  };
}

/** Cuts out the middle: the beginning says what failed, and the end of a log most often says why. */
function cutMiddle(message: string): string {
  if (message.length <= maxMessage) return message;
  const end = message.slice(messageStart + 1 - maxMessage);
  return `${message.slice(0, messageStart)}…${end}`.toWellFormed();
}

type ByPhase = ReadonlyMap<ClusterPhase, readonly ClusterStatus[]>;

function groupByPhase(clusters: readonly ClusterStatus[]): ByPhase {
  const groups = new Map<ClusterPhase, ClusterStatus[]>(clusterPhases.map((phase) => [phase, []]));
  for (const cluster of clusters.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    groups.get(cluster.phase)?.push(cluster);
  }
  return groups;
}

function findingsOf(total: number, byPhase: ByPhase): Finding[] {
  const ready = byPhase.get('Ready')?.length ?? 0;
  const failing = inPhases(byPhase, ['Failed', 'Degraded']);
  const progressing = inPhases(byPhase, ['Pending', 'Building', 'Applying', 'Applied']);
  return [
    readyFinding(total, ready),
    {
      type: 'Progressing',
      ...verdict(progressing.length > 0, ['ClustersProgressing', 'NothingToDo']),
      message:
        progressing.length === 0 ? 'No cluster is progressing' : `Progressing: ${listNames(progressing)}`,
    },
    {
      type: 'Degraded',
      ...verdict(failing.length > 0, ['ClustersDegraded', 'NoProblem']),
      message:
        failing.length === 0
          ? 'No cluster has failed or is degraded'
          : `Failed or degraded: ${listNames(failing)}`,
    },
  ];
}

function readyFinding(total: number, ready: number): Finding {
  if (total === 0) {
    return {
      type: 'Ready',
      status: 'True',
      reason: 'NoClusters',
      message: 'No ManagedCluster has the labels of spec.selector',
    };
  }
  return {
    type: 'Ready',
    ...verdict(ready === total, ['AllClustersReady', 'ClustersNotReady']),
    message: `${ready} of ${total} clusters are ready`,
  };
}

function verdict(isTrue: boolean, [yes, no]: readonly [string, string]): Pick<Finding, 'status' | 'reason'> {
  return isTrue ? { status: 'True', reason: yes } : { status: 'False', reason: no };
}

function inPhases(byPhase: ByPhase, phases: readonly ClusterPhase[]): string[] {
  return phases.flatMap((phase) => byPhase.get(phase) ?? []).map(({ name }) => name);
}

/** Formats names as `a, b, c and 7 others`. */
function listNames(names: readonly string[]): string {
  const first = names.slice(0, maxNamed).join(', ');
  return names.length > maxNamed ? `${first} and ${names.length - maxNamed} others` : first;
}
