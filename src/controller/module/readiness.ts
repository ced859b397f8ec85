import type { BuilderName } from '../../builder/builder.ts';
import { nonEmpty } from '../../api/schema/resource.ts';
import { nodeLabels } from '../../builder/labels.ts';
import type { PodFacts } from '../observe/cluster/projections.ts';
import type { Finding } from './conditions.ts';
import type { DraProblem } from './device-classes/device-class-keeper.ts';
import { draFinding } from './dra-findings.ts';
import type { KernelResult } from './kernel-result.ts';
import { moduleNameOf, type NamedModule } from './named-module.ts';
import { distinct, type SelectedNodes } from './node-groups.ts';
import { describeNodeProblem, type NodeProblemGroup } from './node-problems.ts';

/** How many nodes should have something, and how many do. */
export interface Rollout {
  readonly desired: number;
  readonly available: number;
  /** Of the available ones, those that have what the Module wants now, and not what it wanted before. */
  readonly current: number;
}

/** Returns whether nodes lack something, or still have an earlier one. */
export function isIncomplete({ current, desired }: Rollout): boolean {
  return current < desired;
}

/** What a Module's findings depend on. */
export interface FindingsQuery {
  readonly module: NamedModule;
  readonly selected: SelectedNodes;
  readonly results: readonly KernelResult[];
  readonly loader: Rollout;
  readonly devicePlugin: Rollout | undefined;
  readonly dra: Rollout | undefined;
  /** What keeps the driver for dynamic resource allocation from being deployed. */
  readonly draProblem: DraProblem | undefined;
  readonly builder: BuilderName;
  /** Whether the operator knows an image for module loaders. */
  readonly hasLoaderImage: boolean;
  /** What keeps the Module's pods from their work. */
  readonly problems: readonly NodeProblemGroup[];
  /** Pods with the labels of the Module's that are not of its DaemonSets. */
  readonly foreignPods: readonly PodFacts[];
}

/** The reason and message where no loader can be written. */
export const noLoaderImage = {
  reason: 'LoaderImageUnknown',
  message:
    'The operator has no image for module loaders. Set loader.image in its configuration, or RELATED_IMAGE_LOADER in its environment.',
} as const;

/** Returns whether loaders are wanted, but the operator has no image for them. */
export function isLoaderImageMissing({
  results,
  hasLoaderImage,
}: Pick<FindingsQuery, 'results' | 'hasLoaderImage'>): boolean {
  return results.length > 0 && !hasLoaderImage;
}

/** Returns whether a Module is ready: whether all nodes that should have it do. */
export function ready(query: FindingsQuery): Finding {
  const { results, loader, devicePlugin, dra, draProblem, problems } = query;
  const failed = results.find(({ state }) => state.phase === 'Failed');
  if (failed !== undefined) return readiness('False', failed.state.reason, sentence(failed));
  const pending = results.find(({ state }) => state.phase !== 'Ready');
  if (pending !== undefined) return readiness('False', pending.state.reason, sentence(pending));
  if (isLoaderImageMissing(query)) return readiness('False', noLoaderImage.reason, noLoaderImage.message);
  const withoutDra = draFinding('Ready', draProblem);
  if (withoutDra !== undefined) return withoutDra;
  const withoutNodes = nodesMissing(query);
  if (withoutNodes !== undefined) return withoutNodes;
  const [problem] = problems;
  const isPluginIncomplete = devicePlugin !== undefined && isIncomplete(devicePlugin);
  const isDraIncomplete = dra !== undefined && isIncomplete(dra);
  if ((isIncomplete(loader) || isPluginIncomplete || isDraIncomplete) && problem !== undefined) {
    return readiness('False', problem.reason, describeNodeProblem(problem));
  }
  if (isIncomplete(loader)) return readiness('False', 'Loading', progress(loader, 'module'));
  if (isPluginIncomplete) {
    return readiness('False', 'StartingDevicePlugin', progress(devicePlugin, 'device plugin'));
  }
  if (isDraIncomplete) return readiness('False', 'StartingDraDriver', progress(dra, 'DRA driver'));
  return readiness('True', 'Loaded', `${loader.desired} of ${loader.desired} nodes have the module`);
}

/** Returns why no node can have the module, if so. */
function nodesMissing({ module, selected, results, loader }: FindingsQuery): Finding | undefined {
  const { groups, tainted } = selected;
  const [first] = tainted;
  if (groups.length === 0) {
    if (first === undefined) return readiness('True', 'NoNodes', 'No node matches the selector');
    const { key, value, effect } = first.taint;
    const taint = `${key}${value === undefined || value === '' ? '' : `=${value}`}:${effect}`;
    return readiness(
      'False',
      'UntoleratedTaint',
      `All ${tainted.length} nodes that match the selector have taints that the Module does not tolerate, such as ${taint} on node ${first.node}`,
    );
  }
  const container = module.spec.moduleLoader?.container;
  if (container === undefined) return undefined;
  if (results.length === 0) {
    const kernels = distinct(groups.map(({ kernel }) => kernel.release));
    return readiness(
      'False',
      'NoMatchingMapping',
      `No kernel mapping matches the kernels of the nodes: ${kernels.slice(0, maxKernels).join(', ')}`,
    );
  }
  const version = nonEmpty(container.version);
  if (version === undefined || loader.available > 0) return undefined;
  const label = nodeLabels(moduleNameOf(module)).version;
  const isLabelled = results.some(({ group }) => group.nodes.some(({ labels }) => labels[label] === version));
  return isLabelled
    ? undefined
    : readiness('False', 'NoNodeWithVersion', `No node has the label ${label}=${version}`);
}

const maxKernels = 5;

function progress({ available, current, desired }: Rollout, what: string): string {
  return available < desired
    ? `${available} of ${desired} nodes have the ${what}`
    : `${current} of ${desired} nodes have the new ${what}, the others still have the earlier one`;
}

function readiness(status: 'True' | 'False', reason: string, message: string): Finding {
  return { type: 'Ready', status, reason, message };
}

/** Describes a kernel's state in a sentence. */
export function sentence({ group, state }: KernelResult): string {
  return `Kernel ${group.kernel.release}: ${state.message}`;
}
