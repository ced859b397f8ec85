import type { V1Taint, V1Toleration } from '@kubernetes/client-node';
import { parseKernel, type Kernel } from '../../builder/kernel.ts';
import type { NodeFacts } from '../observe/cluster/projections.ts';
import { selects } from '../observe/cluster/resources.ts';

/** Nodes that run one kernel. */
export interface NodeGroup {
  readonly kernel: Kernel;
  /** GOARCH, sorted. */
  readonly architectures: readonly string[];
  readonly osImages: readonly string[];
  /** Nodes eligible for the module: the selector matches, and their taints are tolerated. */
  readonly nodes: readonly NodeFacts[];
}

/** The nodes of a Module. */
export interface SelectedNodes {
  /** The nodes eligible for the module, by kernel. */
  readonly groups: readonly NodeGroup[];
  /** Kernels of all nodes that match the selector, including those with taints: what runs there stays. */
  readonly kernels: readonly Kernel[];
  /** Nodes that match the selector and have a taint that is not tolerated. */
  readonly tainted: readonly { readonly node: string; readonly taint: V1Taint }[];
}

export interface NodeSelection {
  readonly selector: Readonly<Record<string, string>>;
  readonly tolerations: readonly V1Toleration[];
}

/** Finds the nodes of a Module and groups them by kernel, in the order of their names. */
export function selectNodes(
  nodes: readonly NodeFacts[],
  { selector, tolerations }: NodeSelection,
): SelectedNodes {
  const selected = nodes.filter(
    ({ labels, kernelRelease }) => kernelRelease !== '' && selects(selector, labels),
  );
  const groups = new Map<string, NodeFacts[]>();
  const tainted: { node: string; taint: V1Taint }[] = [];
  for (const node of selected) {
    const taint = node.taints.find((one) => !isTolerated(one, tolerations));
    if (taint !== undefined) {
      tainted.push({ node: node.name, taint });
      continue;
    }
    const group = groups.get(node.kernelRelease);
    if (group === undefined) groups.set(node.kernelRelease, [node]);
    else group.push(node);
  }
  return {
    groups: [...groups]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([release, group]) => groupOf(release, group)),
    kernels: distinct(selected.map(({ kernelRelease }) => kernelRelease)).map(parseKernel),
    tainted,
  };
}

function groupOf(release: string, nodes: readonly NodeFacts[]): NodeGroup {
  return {
    kernel: parseKernel(release),
    architectures: distinct(nodes.map(({ architecture }) => architecture)),
    osImages: distinct(nodes.map(({ osImage }) => osImage)),
    nodes,
  };
}

/** Taints that the DaemonSet controller makes all its pods tolerate. */
const toleratedByDaemonSets = new Set([
  'node.kubernetes.io/not-ready',
  'node.kubernetes.io/unreachable',
  'node.kubernetes.io/disk-pressure',
  'node.kubernetes.io/memory-pressure',
  'node.kubernetes.io/pid-pressure',
  'node.kubernetes.io/unschedulable',
]);

/** Returns whether pods tolerate a taint (Kubernetes, "Taints and Tolerations"). */
function isTolerated(taint: V1Taint, tolerations: readonly V1Toleration[]): boolean {
  if (taint.effect === 'PreferNoSchedule' || toleratedByDaemonSets.has(taint.key)) return true;
  return tolerations.some((toleration) => tolerates(toleration, taint));
}

function tolerates({ key, operator = 'Equal', value = '', effect }: V1Toleration, taint: V1Taint): boolean {
  if (effect !== undefined && effect !== '' && effect !== taint.effect) return false;
  if (key === undefined || key === '') return operator === 'Exists';
  return key === taint.key && (operator === 'Exists' || value === (taint.value ?? ''));
}

/** Returns each value once, sorted. */
export function distinct(values: readonly string[]): string[] {
  return [...new Set(values)].toSorted();
}
