import type { V1DaemonSet } from '@kubernetes/client-node';
import { labelKeys } from '../../builder/labels.ts';
import { isObjectName, shortHash, type Json } from '../../builder/names.ts';
import type { DaemonSetFacts, PodFacts } from '../observe/cluster/projections.ts';

/** DaemonSets to write, and those of KMM to delete without their pods. */
export interface TakeOver {
  readonly apply: readonly V1DaemonSet[];
  readonly orphan: readonly DaemonSetFacts[];
}

/**
 * Takes over the DaemonSets that KMM has left, so that their pods go on and no module is unloaded. KMM's
 * DaemonSet is deleted without its pods, and ours is written once it is gone: it has the labels of theirs, so
 * Kubernetes makes it the owner of the pods. It replaces them when what they should run changes, node by node.
 */
export function takeOverDaemonSets(
  wanted: readonly V1DaemonSet[],
  daemonSets: readonly DaemonSetFacts[],
  pods: readonly PodFacts[],
): TakeOver {
  const orphan = new Set<DaemonSetFacts>();
  const apply = wanted.flatMap((daemonSet) => {
    const theirs = daemonSets.filter((one) => isMadeByKmm(one) && hasLabels(one, daemonSet));
    for (const one of theirs) if (!one.deleting) orphan.add(one);
    if (theirs.length > 0) return [];
    const { name } = daemonSet.metadata ?? {};
    const present = daemonSets.find(({ key }) => key.name === name);
    const template = hashOf(daemonSet);
    const keepsPods =
      present === undefined ? findPods(daemonSet, pods).length > 0 : present.takenOver === template;
    return [keepsPods ? keepingPods(daemonSet, template) : daemonSet];
  });
  return { apply, orphan: [...orphan] };
}

/**
 * Returns whether KMM has made a DaemonSet. Module loaders of KMM 1.x lack the labels of applications; those
 * of later device plugins have them, but names that end in five characters.
 */
function isMadeByKmm({ key, labels }: DaemonSetFacts): boolean {
  return labels[partOfLabel] === undefined || !isObjectName(key.name);
}

const partOfLabel = 'app.kubernetes.io/part-of';

/** Returns whether pods of a DaemonSet would become those of ours. */
function hasLabels({ labels }: Pick<PodFacts, 'labels'>, daemonSet: V1DaemonSet): boolean {
  const { matchLabels = {} } = daemonSet.spec?.selector ?? {};
  return Object.entries(matchLabels).every(([name, value]) => labels[name] === value);
}

/** Returns the pods that Kubernetes will make those of a new DaemonSet. */
function findPods(daemonSet: V1DaemonSet, pods: readonly PodFacts[]): PodFacts[] {
  const { namespace, name } = daemonSet.metadata ?? {};
  return pods.filter(
    (pod) =>
      pod.key.namespace === namespace &&
      pod.labels[labelKeys.role] !== undefined &&
      pod.ownerName !== name &&
      !pod.deleting &&
      hasLabels(pod, daemonSet),
  );
}

/** Returns a DaemonSet that does not replace pods by itself. */
function keepingPods(daemonSet: V1DaemonSet, template: string): V1DaemonSet {
  const { metadata, spec } = daemonSet;
  const annotations = { ...metadata?.annotations, [labelKeys.takenOver]: template };
  return Object.assign({}, daemonSet, {
    metadata: Object.assign({}, metadata, { annotations }),
    spec: Object.assign({}, spec, { updateStrategy: { type: 'OnDelete' } }),
  });
}

function hashOf({ spec }: V1DaemonSet): string {
  return shortHash(JSON.parse(JSON.stringify(spec?.template)) as Json);
}
