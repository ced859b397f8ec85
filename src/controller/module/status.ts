import type { KernelStatus, ModuleStatus, Module } from '../../api/module/module.ts';
import { KmmError } from '../../shared/errors.ts';
import { toConditions, type Finding } from './conditions.ts';
import type { Rollout } from './readiness.ts';
import type { KernelResult } from './kernel-result.ts';

/** The input of a status. */
export interface StatusQuery {
  readonly module: Module;
  readonly findings: readonly Finding[];
  readonly results: readonly KernelResult[];
  /** The number of nodes eligible for the module. */
  readonly nodes: number;
  readonly loader: Rollout;
  readonly devicePlugin: Rollout | undefined;
  readonly dra: Rollout | undefined;
  /** RFC 3339. */
  readonly now: string;
}

/** Returns the status of a Module. Times are kept if nothing changed: equal states are equal texts. */
export function moduleStatusOf(query: StatusQuery): ModuleStatus {
  const { module, findings, results, nodes, loader, devicePlugin, dra, now } = query;
  const { generation } = module.metadata;
  const counters = ({ desired, available }: Rollout) => ({
    nodesMatchingSelectorNumber: nodes,
    desiredNumber: desired,
    availableNumber: available,
  });
  return {
    observedGeneration: generation,
    conditions: toConditions(findings, { earlier: module.status?.conditions, generation, now }),
    moduleLoader: counters(loader),
    devicePlugin: devicePlugin && counters(devicePlugin),
    dra: dra && counters(dra),
    imageRebuildTriggerGeneration: module.spec.imageRebuildTriggerGeneration,
    kernels: results.flatMap((result) => kernelStatuses(result, module.status?.kernels ?? [], now)),
  };
}

/** Returns one entry per architecture: nodes of several may run kernels of the same name. */
function kernelStatuses(
  { group, target, state }: KernelResult,
  earlier: readonly KernelStatus[],
  now: string,
): KernelStatus[] {
  return group.architectures.map((architecture) => {
    const kernelVersion = group.kernel.release;
    const before = earlier.find(
      (one) => one.kernelVersion === kernelVersion && one.architecture === architecture,
    );
    const { phase, reason, message, digest, unsignedDigest, inputs, job, attempts } = state;
    const isSame = before?.phase === phase && before.reason === reason;
    const isWorking = phase !== 'Ready' && phase !== 'Failed';
    const wasWorking = before !== undefined && before.phase !== 'Ready' && before.phase !== 'Failed';
    return {
      kernelVersion,
      architecture,
      nodes: group.nodes.filter((node) => node.architecture === architecture).length,
      image: target instanceof KmmError ? before?.image : target.image,
      digest,
      unsignedDigest,
      inputs,
      phase,
      reason,
      message,
      job,
      attempts,
      startTime: isWorking && !wasWorking ? now : (before?.startTime ?? now),
      lastTransitionTime: isSame ? before.lastTransitionTime : now,
    };
  });
}
