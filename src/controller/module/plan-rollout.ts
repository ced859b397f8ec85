import type { V1DaemonSet } from '@kubernetes/client-node';
import type { ModuleStatus } from '../../api/module/module.ts';
import { nonEmpty } from '../../api/schema/resource.ts';
import type { BuilderName } from '../../builder/builder.ts';
import { kernelLabelValue, labelKeys, nodeLabels } from '../../builder/labels.ts';
import type { Kernel } from '../../builder/kernel.ts';
import { takeOverDaemonSets } from '../kmm-migration/take-over.ts';
import type { DaemonSetFacts, PodFacts } from '../observe/cluster/projections.ts';
import { findingsOf } from './findings.ts';
import { kernelEvents, type KernelEvent } from './kernel-events.ts';
import type { DraState } from './device-classes/device-class-keeper.ts';
import { draEvents } from './dra-findings.ts';
import { findMapping } from './kernel-mapping/find-mapping.ts';
import { builderOf, type KernelResult } from './kernel-result.ts';
import { devicePluginDaemonSet, devicePluginRole } from './loading/device-plugin.ts';
import { draDriverDaemonSet, draDriverRole } from './loading/dra-driver.ts';
import { moduleLoaderRole } from './loading/module-loader.ts';
import { planLoaders } from './loading/plan-loaders.ts';
import type { LoaderSettings, OperatorAccounts } from './loading/settings.ts';
import { moduleNameOf, ownerOf, type NamedModule } from './named-module.ts';
import type { SelectedNodes } from './node-groups.ts';
import { findNodeProblems, problemEvents, type NodeProblemGroup } from './node-problems.ts';
import type { Rollout } from './readiness.ts';
import { sharedImagesEvents, sharedImagesFinding, type SharedImage } from './shared-images.ts';
import { moduleStatusOf } from './status.ts';

/** What is known about a Module after the work on its images. */
export interface RolloutFacts {
  readonly module: NamedModule;
  readonly selected: SelectedNodes;
  readonly results: readonly KernelResult[];
  /** The Module's DaemonSets in the cluster. */
  readonly daemonSets: readonly DaemonSetFacts[];
  /** Whether the driver for dynamic resource allocation can be deployed, if the Module has one. */
  readonly dra: DraState;
  /** Pods with the labels of the Module's loaders and plugins. */
  readonly pods: readonly PodFacts[];
  readonly operator: OperatorAccounts;
  readonly loader: LoaderSettings;
  /** The configured builder. */
  readonly builder: BuilderName;
  /** Images that other Modules push, too; undefined if that is not known yet. */
  readonly sharedImages: readonly SharedImage[] | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** What to do for a Module besides the work on its images. */
export interface RolloutPlan {
  /** DaemonSets to write. */
  readonly apply: readonly V1DaemonSet[];
  /** DaemonSets of KMM to delete without their pods, before others are written. */
  readonly orphan: readonly DaemonSetFacts[];
  /** DaemonSets to delete. */
  readonly remove: readonly DaemonSetFacts[];
  /** The status; equal to the Module's if nothing has changed. */
  readonly status: ModuleStatus;
  /** Events to record once the status is written. */
  readonly events: readonly KernelEvent[];
}

/** Decides on a Module's DaemonSets, status and events. */
export function planRollout(facts: RolloutFacts): RolloutPlan {
  const { module, results } = facts;
  const loaders = planLoaders(facts, ownerOf(module));
  const plugin = pluginOf(facts);
  const wanted = plugin === undefined ? loaders.apply : [...loaders.apply, plugin];
  const names = new Set([...loaders.names, plugin?.metadata?.name]);
  const { apply, orphan } = takeOverDaemonSets(wanted, facts.daemonSets, facts.pods);
  const mapped = mappedKernels(module, facts.selected);
  const { ours, foreign } = splitPods(facts);
  const problems = findNodeProblems(ours);
  const status = statusOf(facts, { problems, foreign, wanted });
  return {
    orphan,
    apply,
    remove: facts.daemonSets.filter(
      (one) =>
        !names.has(one.key.name) &&
        !one.deleting &&
        !orphan.includes(one) &&
        !isStillNeeded(one, module, mapped),
    ),
    status,
    events: [
      ...results.flatMap((result) => kernelEvents(result, earlierStatusOf(module, result))),
      ...problemEvents(status, module.status, problems),
      ...sharedImagesEvents(status, module.status),
      ...draEvents(facts.dra, module.status),
    ],
  };
}

/** Returns the plugin of the Module for kubelets: it has one at most. */
function pluginOf({ module, operator, dra }: RolloutFacts): V1DaemonSet | undefined {
  const query = [moduleNameOf(module), module.spec, { operator, owner: ownerOf(module) }] as const;
  return devicePluginDaemonSet(...query) ?? (dra.isServed ? draDriverDaemonSet(...query) : undefined);
}

/**
 * Returns whether a DaemonSet that is not written is kept: while its kernel's image is being worked on or has
 * failed, and, in an ordered upgrade, while nodes have the other version.
 */
function isStillNeeded(
  { labels, desired }: DaemonSetFacts,
  module: NamedModule,
  mapped: readonly string[],
): boolean {
  const keys = nodeLabels(moduleNameOf(module));
  const version = nonEmpty(module.spec.moduleLoader?.container.version);
  const role = labels[labelKeys.role];
  if (role === devicePluginRole || role === draDriverRole) {
    const plugin = role === devicePluginRole ? module.spec.devicePlugin : module.spec.dra;
    // In an ordered upgrade, nodes change versions one by one.
    const isOther = labels[keys.devicePluginVersion] !== version;
    return plugin !== undefined && version !== undefined && isOther && desired > 0;
  }
  if (role !== moduleLoaderRole || !mapped.includes(labels[labelKeys.kernel] ?? '')) return false;
  return labels[keys.moduleLoaderVersion] === version || desired > 0;
}

/** Returns label values of the kernels with a mapping, even on nodes with taints: what runs there stays. */
function mappedKernels({ spec }: NamedModule, { kernels }: SelectedNodes): string[] {
  const mappings = spec.moduleLoader?.container.kernelMappings ?? [];
  return kernels.filter((kernel) => isMapped(mappings, kernel)).map(kernelLabelValue);
}

function isMapped(mappings: Parameters<typeof findMapping>[0], kernel: Kernel): boolean {
  try {
    return findMapping(mappings, kernel) !== undefined;
  } catch {
    // An invalid mapping is not a reason to unload what runs.
    return true;
  }
}

/** Tells the pods of the Module's DaemonSets from others with their labels. */
function splitPods({ pods, daemonSets }: RolloutFacts): { ours: PodFacts[]; foreign: PodFacts[] } {
  const names = new Set(daemonSets.map(({ key }) => key.name));
  const isOurs = ({ ownerName = '' }: PodFacts): boolean => names.has(ownerName);
  return {
    ours: pods.filter(isOurs),
    // Those that end may be of a DaemonSet that is gone.
    foreign: pods.filter((pod) => !isOurs(pod) && !pod.deleting),
  };
}

function statusOf(
  facts: RolloutFacts,
  found: {
    readonly problems: readonly NodeProblemGroup[];
    readonly foreign: readonly PodFacts[];
    readonly wanted: readonly V1DaemonSet[];
  },
): ModuleStatus {
  const { module, selected, results, builder, now } = facts;
  const { problems, foreign: foreignPods, wanted } = found;
  const { loader, devicePlugin, dra, nodes } = progressOf(facts, wanted);
  return moduleStatusOf({
    module,
    findings: [
      ...findingsOf({
        module,
        selected,
        results,
        loader,
        devicePlugin,
        dra,
        draProblem: facts.dra.problem,
        builder: builderOf(module) ?? builder,
        hasLoaderImage: facts.loader.image !== undefined,
        problems,
        foreignPods,
      }),
      ...sharedImagesFinding(facts.sharedImages, module.status),
    ],
    results,
    nodes,
    loader,
    devicePlugin,
    dra,
    now: new Date(now).toISOString(),
  });
}

/** Counts the nodes that are eligible for the module, should have it, and have it. */
function progressOf(
  { module: { spec }, selected, results, daemonSets }: RolloutFacts,
  wanted: readonly V1DaemonSet[],
): {
  readonly nodes: number;
  readonly loader: Rollout;
  readonly devicePlugin: Rollout | undefined;
  readonly dra: Rollout | undefined;
} {
  const have = (role: string): Pick<Rollout, 'available' | 'current'> => {
    const found = daemonSets
      // A DaemonSet of KMM's may have the same role.
      .filter(({ labels }) => labels[labelKeys.role] === role && labels[labelKeys.partOf] !== undefined);
    return {
      available: found.reduce((sum, one) => sum + one.available, 0),
      current: found.reduce((sum, one) => sum + currentOf(one, wanted), 0),
    };
  };
  const nodes = selected.groups.reduce((sum, group) => sum + group.nodes.length, 0);
  const mapped = results.reduce((sum, { group }) => sum + group.nodes.length, 0);
  const plugin = (operand: object | undefined, role: string): Rollout | undefined =>
    operand && { desired: spec.moduleLoader === undefined ? nodes : mapped, ...have(role) };
  return {
    nodes,
    loader: { desired: mapped, ...have(moduleLoaderRole) },
    devicePlugin: plugin(spec.devicePlugin, devicePluginRole),
    dra: plugin(spec.dra, draDriverRole),
  };
}

/** Counts the nodes where a DaemonSet has the pod that it should have by now, and not an earlier one. */
function currentOf(daemonSet: DaemonSetFacts, wanted: readonly V1DaemonSet[]): number {
  const { key, loaderInputs, isObserved, takenOver, updated, available } = daemonSet;
  // Its pods are of KMM, and stay.
  if (takenOver !== undefined) return available;
  const changes = wanted.find(({ metadata }) => metadata?.name === key.name);
  const inputs = changes?.metadata?.annotations?.[labelKeys.loaderInputs];
  if (!isObserved || (inputs !== undefined && inputs !== loaderInputs)) return 0;
  return Math.min(updated, available);
}

/** Returns the previous status of a kernel. */
function earlierStatusOf({ status }: NamedModule, { group }: KernelResult) {
  return status?.kernels?.find(({ kernelVersion }) => kernelVersion === group.kernel.release);
}
