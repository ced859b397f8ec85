import { findIgnoredFields } from '../../api/module/ignored-fields.ts';
import type { BuilderName } from '../../builder/builder.ts';
import { parseKernel } from '../../builder/kernel.ts';
import { findIdleMappings } from './kernel-mapping/find-mapping.ts';
import type { Finding } from './conditions.ts';
import type { KernelResult } from './kernel-result.ts';
import type { NamedModule } from './named-module.ts';
import type { SelectedNodes } from './node-groups.ts';

/** How many nodes should have something, and how many do. */
export interface Rollout {
  readonly desired: number;
  readonly available: number;
}

export interface FindingsQuery {
  readonly module: NamedModule;
  readonly selected: SelectedNodes;
  readonly results: readonly KernelResult[];
  readonly loader: Rollout;
  readonly devicePlugin: Rollout | undefined;
  readonly builder: BuilderName;
  /** Whether the operator knows an image for module loaders. */
  readonly hasLoaderImage: boolean;
}

const noLoaderImage = {
  reason: 'LoaderImageUnknown',
  message:
    'The operator has no image for module loaders. Set loader.image in its configuration, or RELATED_IMAGE_SIGN in its environment.',
} as const;

/** Returns a Module's findings: whether it is ready, progressing or degraded; and fields without effect. */
export function findingsOf(query: FindingsQuery): Finding[] {
  return [ready(query), progressing(query), degraded(query), ...unused(query)];
}

function ready(query: FindingsQuery): Finding {
  const { results, selected, loader, devicePlugin } = query;
  const failed = results.find(({ state }) => state.phase === 'Failed');
  if (failed !== undefined) return readiness('False', failed.state.reason, sentence(failed));
  const pending = results.find(({ state }) => state.phase !== 'Ready');
  if (pending !== undefined) return readiness('False', pending.state.reason, sentence(pending));
  if (isLoaderImageMissing(query)) return { type: 'Ready', status: 'False', ...noLoaderImage };
  if (selected.groups.length === 0) return readiness('True', 'NoNodes', 'No node matches the selector');
  if (loader.available < loader.desired) {
    return readiness('False', 'Loading', `${loader.available} of ${loader.desired} nodes have the module`);
  }
  if (devicePlugin !== undefined && devicePlugin.available < devicePlugin.desired) {
    const { available, desired } = devicePlugin;
    return readiness(
      'False',
      'StartingDevicePlugin',
      `${available} of ${desired} nodes have the device plugin`,
    );
  }
  return readiness('True', 'Loaded', `${loader.desired} of ${loader.desired} nodes have the module`);
}

function readiness(status: 'True' | 'False', reason: string, message: string): Finding {
  return { type: 'Ready', status, reason, message };
}

function progressing({ results, loader, devicePlugin }: FindingsQuery): Finding {
  const working = results.filter(({ state }) => state.phase !== 'Ready' && state.phase !== 'Failed');
  const [first] = working;
  const type = 'Progressing';
  if (first !== undefined) {
    return { type, status: 'True', reason: first.state.reason, message: withOthers(first, working.length) };
  }
  const rollouts = devicePlugin === undefined ? [loader] : [loader, devicePlugin];
  const isRollingOut = rollouts.some(({ available, desired }) => available < desired);
  return isRollingOut
    ? { type, status: 'True', reason: 'RollingOut', message: 'Pods are being started on nodes' }
    : { type, status: 'False', reason: 'Settled', message: 'There is nothing to do' };
}

function isLoaderImageMissing({ results, hasLoaderImage }: FindingsQuery): boolean {
  return results.length > 0 && !hasLoaderImage;
}

function degraded(query: FindingsQuery): Finding {
  const { results } = query;
  const failed = results.filter(({ state, error }) => state.phase === 'Failed' || error !== undefined);
  const [first] = failed;
  if (first === undefined && isLoaderImageMissing(query)) {
    return { type: 'Degraded', status: 'True', ...noLoaderImage };
  }
  return first === undefined
    ? { type: 'Degraded', status: 'False', reason: 'AsExpected', message: 'Nothing has failed' }
    : {
        type: 'Degraded',
        status: 'True',
        reason: first.state.reason,
        message: withOthers(first, failed.length),
      };
}

function unused({ module, selected, builder }: FindingsQuery): Finding[] {
  const fields = findIgnoredFields(module.spec, builder);
  const kernels = selected.kernels.map(({ release }) => parseKernel(release));
  const idle = findIdleMappings(module.spec.moduleLoader?.container.kernelMappings ?? [], kernels);
  return [
    ...(fields.length === 0
      ? []
      : [
          {
            type: 'FieldsNotActedOn',
            status: 'True' as const,
            reason: 'NotSupported',
            message: fields.map(({ path, reason }) => `${path}: ${reason}`).join('; '),
          },
        ]),
    ...(idle.length === 0
      ? []
      : [
          {
            type: 'IdleKernelMappings',
            status: 'True' as const,
            reason: idle[0]?.reason ?? '',
            message: idle.map(({ message }) => message).join('; '),
          },
        ]),
  ];
}

function sentence({ group, state }: KernelResult): string {
  return `Kernel ${group.kernel.release}: ${state.message}`;
}

function withOthers(first: KernelResult, count: number): string {
  return count === 1 ? sentence(first) : `${sentence(first)} (and ${count - 1} more kernels)`;
}
