import { labelKeys } from '../../builder/labels.ts';
import type { PodFacts } from '../observe/cluster/projections.ts';
import type { ModuleStatus } from '../../api/module/module.ts';
import type { KernelEvent } from './kernel-events.ts';
import { moduleLoaderRole } from './loading/module-loader.ts';

/** Why a Module's pod does not do its work on a node. */
export interface NodeProblem {
  /** A word in CamelCase. */
  readonly reason: string;
  /** One line. */
  readonly line: string;
  readonly node: string;
}

/** Nodes with the same problem. */
export interface NodeProblemGroup {
  readonly reason: string;
  readonly line: string;
  /** Sorted. */
  readonly nodes: readonly string[];
}

/** The most characters of a line: several go into a condition. */
const maxLine = 1000;
const maxNamed = 3;

/** Finds what keeps a Module's pods from their work, most frequent first. */
export function findNodeProblems(pods: readonly PodFacts[]): NodeProblemGroup[] {
  const groups = new Map<string, { reason: string; line: string; nodes: Set<string> }>();
  for (const { reason, line, node } of pods.flatMap((pod) => problemOf(pod) ?? [])) {
    const key = `${reason} ${line}`;
    const group = groups.get(key) ?? { reason, line, nodes: new Set() };
    groups.set(key, group);
    group.nodes.add(node);
  }
  return [...groups.values()]
    .map(({ nodes, ...group }) => ({ ...group, nodes: [...nodes].toSorted() }))
    .toSorted((one, other) => other.nodes.length - one.nodes.length || (one.line < other.line ? -1 : 1));
}

/** Returns a pod's problem on its node, if it has one. */
export function problemOf(pod: PodFacts): NodeProblem | undefined {
  const { failure, ready, phase, labels } = pod;
  if (failure === undefined || ready || phase === 'Succeeded') return undefined;
  const node = pod.targetNode ?? 'unknown';
  const line = oneLine(failure.message);
  if (failure.kind === 'unscheduled') return { node, reason: 'Unschedulable', line };
  if (failure.kind === 'waiting') {
    const isPull = /image/i.test(failure.reason);
    // The kubelet alternates between an error and waiting for the next try.
    return { node, reason: isPull ? 'ImagePullFailed' : failure.reason, line: withoutBackOff(line) };
  }
  if (labels[labelKeys.role] !== moduleLoaderRole) return { node, reason: 'PodFailed', line };
  const unloads = pod.deleting || labels[labelKeys.loaderMode] === 'unload';
  return { node, reason: unloads ? 'UnloadFailed' : 'LoadFailed', line };
}

/** Describes nodes with a problem in a sentence: three of many are named. */
export function describeNodeProblem({ nodes, line }: NodeProblemGroup): string {
  const named = nodes.slice(0, maxNamed).join(', ');
  if (nodes.length === 1) return `Node ${named}: ${line}`;
  const more = nodes.length - maxNamed;
  return `${nodes.length} nodes (${more > 0 ? `${named} and ${more} more` : named}): ${line}`;
}

/** Returns the event of a problem that a status reports for the first time, on however many nodes. */
export function problemEvents(
  status: ModuleStatus,
  earlier: ModuleStatus | undefined,
  problems: readonly NodeProblemGroup[],
): KernelEvent[] {
  const degraded = conditionOf(status);
  const before = conditionOf(earlier);
  const found = problems.find(
    ({ reason, line }) => degraded?.reason === reason && degraded.message.includes(line),
  );
  const isNews =
    found !== undefined && !(before?.reason === found.reason && before.message.includes(found.line));
  if (!isNews) return [];
  return [{ type: 'Warning', reason: found.reason, action: 'Load', note: describeNodeProblem(found) }];
}

function conditionOf(status: ModuleStatus | undefined) {
  return status?.conditions?.find(({ type, status: value }) => type === 'Degraded' && value === 'True');
}

/** Joins the lines of a message, without what differs from node to node: the kernel's times and pods' names. */
function oneLine(message: string): string {
  const lines = message
    .split('\n')
    .map((line) => line.replace(/^\[ *\d+\.\d+\] /, '').trim())
    .filter((line) => line !== '');
  const text = [...new Set(lines)].join('; ');
  return text.length <= maxLine ? text : `${text.slice(0, maxLine - 1)}…`;
}

function withoutBackOff(line: string): string {
  return line.replace(/^Back-off pulling image "[^"]*":? ?(?=.)/, '');
}
