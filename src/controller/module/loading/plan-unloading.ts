import { count } from '../../../shared/printable.ts';
import { labelKeys } from '../../../builder/labels.ts';
import { isObjectName } from '../../../builder/names.ts';
import type { DaemonSetFacts, PodFacts } from '../../observe/cluster/projections.ts';
import { moduleLoaderRole } from './module-loader.ts';

/** Holds a Module that is being deleted until its module is in no kernel any more. */
export const loaderFinalizer = 'kmm.sigs.x-k8s.io/module-loader';

/** Annotation: `true` deletes the Module at once, whatever its nodes have loaded. */
export const skipUnloadAnnotation = 'kmm.sigs.x-k8s.io/skip-unload';

/** What is known about a Module that is being deleted. */
export interface UnloadingFacts {
  /** When the deletion was requested. Milliseconds since 1970, like `now`. */
  readonly deletedAt: number;
  readonly now: number;
  /** How long the Module is held. Milliseconds. */
  readonly timeout: number;
  readonly annotations: Readonly<Record<string, string>>;
  /** The Module's DaemonSets. */
  readonly daemonSets: readonly DaemonSetFacts[];
  /** Pods with the labels of the Module's. */
  readonly pods: readonly PodFacts[];
}

/** The next step of deleting a Module. */
export type UnloadingStep =
  /** Its nodes are clean, or it is not held any longer. */
  | { readonly type: 'release'; readonly reason: 'clean' | 'skipped' | 'timedOut'; readonly nodes: number }
  | {
      readonly type: 'wait';
      /** DaemonSets to delete. */
      readonly remove: readonly DaemonSetFacts[];
      /** Loaders whose pods are to be replaced by ones that only unload. */
      readonly unload: readonly DaemonSetFacts[];
      /** A sentence. */
      readonly message: string;
      /** Milliseconds until the Module is not held any longer. */
      readonly remaining: number;
    };

/**
 * Decides on the next step of deleting a Module: first what uses the module ends, then loaders unload it. Each
 * loader's pod is replaced by one that is ready once the module is not in the kernel: so it is known of every
 * node that it is clean, and, if not, why.
 */
export function nextUnloadingStep(facts: UnloadingFacts): UnloadingStep {
  const { deletedAt, now, timeout, annotations, daemonSets, pods } = facts;
  const loaders = daemonSets.filter(isLoader);
  const dirty = loaders.filter((one) => !isClean(one));
  const nodes = dirty.reduce(
    (sum, { desired, available, unloads }) => sum + desired - (unloads ? available : 0),
    0,
  );
  if (dirty.length === 0) return { type: 'release', reason: 'clean', nodes: 0 };
  if (annotations[skipUnloadAnnotation] === 'true') return { type: 'release', reason: 'skipped', nodes };
  const remaining = deletedAt + timeout - now;
  if (remaining <= 0) return { type: 'release', reason: 'timedOut', nodes };
  const users = daemonSets.filter((one) => !isLoader(one));
  const usersLeft = pods.filter((pod) => isUser(pod, daemonSets)).length;
  if (users.length > 0 || usersLeft > 0) {
    const message = `Waiting for ${usersLeft} pods that use the module to end`;
    return {
      type: 'wait',
      remove: users.filter(({ deleting }) => !deleting),
      unload: [],
      message,
      remaining,
    };
  }
  const waiting = dirty.filter(({ deleting }) => !deleting);
  return {
    type: 'wait',
    // Those of KMM, or of versions of the operator whose loaders cannot do it.
    remove: waiting.filter(({ loaderInputs }) => loaderInputs === undefined),
    unload: waiting.filter(({ loaderInputs, unloads }) => loaderInputs !== undefined && !unloads),
    message: `The module is being unloaded from ${count(nodes, 'node')}`,
    remaining,
  };
}

/**
 * Returns whether a pod uses the module: a DaemonSet's pods are there for a while when it is gone. Others with these
 * labels do not hold the Module, unless they are about to go anyway.
 */
function isUser(
  { labels, ownerName = '', deleting }: PodFacts,
  daemonSets: readonly DaemonSetFacts[],
): boolean {
  if (labels[labelKeys.role] === moduleLoaderRole) return false;
  return deleting || isObjectName(ownerName) || daemonSets.some(({ key }) => key.name === ownerName);
}

function isLoader({ labels }: DaemonSetFacts): boolean {
  return labels[labelKeys.role] === moduleLoaderRole;
}

/** Returns whether all nodes of a loader have reported that the module is not in the kernel. */
function isClean({ unloads, isObserved, desired, updated, available }: DaemonSetFacts): boolean {
  return unloads && isObserved && updated >= desired && available >= desired;
}
