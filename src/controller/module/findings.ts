import { findIgnoredFields } from '../../api/module/ignored-fields.ts';
import { parseKernel } from '../../builder/kernel.ts';
import { findIdleMappings } from './kernel-mapping/find-mapping.ts';
import type { PodFacts } from '../observe/cluster/projections.ts';
import type { Finding } from './conditions.ts';
import { draFinding } from './dra-findings.ts';
import type { KernelResult } from './kernel-result.ts';
import { describeNodeProblem } from './node-problems.ts';
import {
  isIncomplete,
  isLoaderImageMissing,
  noLoaderImage,
  ready,
  sentence,
  type FindingsQuery,
} from './readiness.ts';

/** Returns a Module's findings: whether it is ready, progressing or degraded; and fields without effect. */
export function findingsOf(query: FindingsQuery): Finding[] {
  return [ready(query), progressing(query), degraded(query), ...unused(query)];
}

function progressing({ results, loader, devicePlugin, dra, draProblem, problems }: FindingsQuery): Finding {
  const working = results.filter(({ state }) => state.phase !== 'Ready' && state.phase !== 'Failed');
  const [first] = working;
  const type = 'Progressing';
  if (first !== undefined) {
    return { type, status: 'True', reason: first.state.reason, message: withOthers(first, working.length) };
  }
  // What cannot be deployed makes no progress.
  const rollouts = [loader, devicePlugin, draProblem === undefined ? dra : undefined].filter(
    (one) => one !== undefined,
  );
  const isRollingOut = rollouts.some(isIncomplete);
  const missing = Math.max(...rollouts.map(({ current, desired }) => desired - current));
  const failing = new Set(problems.flatMap(({ nodes }) => nodes)).size;
  if (isRollingOut && failing >= missing) {
    return { type, status: 'False', reason: 'Stalled', message: 'What is missing has failed; see Degraded' };
  }
  return isRollingOut
    ? { type, status: 'True', reason: 'RollingOut', message: 'Pods are being started on nodes' }
    : { type, status: 'False', reason: 'Settled', message: 'There is nothing to do' };
}

function degraded(query: FindingsQuery): Finding {
  const { results } = query;
  const failed = results.filter(({ state, error }) => state.phase === 'Failed' || error !== undefined);
  const [first] = failed;
  if (first === undefined && isLoaderImageMissing(query)) {
    return { type: 'Degraded', status: 'True', ...noLoaderImage };
  }
  const withoutDra = draFinding('Degraded', query.draProblem);
  if (first === undefined && withoutDra !== undefined) return withoutDra;
  const [problem, ...more] = query.problems;
  if (first === undefined && problem !== undefined) {
    const others = more.length === 0 ? '' : ` (and ${more.length} more problems)`;
    const message = `${describeNodeProblem(problem)}${others}`;
    return { type: 'Degraded', status: 'True', reason: problem.reason, message };
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

function unused({ module, selected, builder, foreignPods }: FindingsQuery): Finding[] {
  const fields = findIgnoredFields(module.spec, builder);
  const kernels = selected.kernels.map(({ release }) => parseKernel(release));
  const idle = findIdleMappings(module.spec.moduleLoader?.container.kernelMappings ?? [], kernels);
  const [foreign] = foreignPods;
  return [
    ...(foreign === undefined
      ? []
      : [
          {
            type: 'ForeignPods',
            status: 'True' as const,
            reason: 'NotCounted',
            message: describeForeign(foreign, foreignPods.length),
          },
        ]),
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

function describeForeign({ key, nodeName = 'none' }: PodFacts, count: number): string {
  const [subject, them] = count === 1 ? ['A pod has', 'it is'] : [`${count} pods have`, 'they are'];
  return `${subject} the labels of this Module's pods, but no DaemonSet of the operator: ${key.name} on node ${nodeName}; ${them} not counted`;
}

function withOthers(first: KernelResult, count: number): string {
  return count === 1 ? sentence(first) : `${sentence(first)} (and ${count - 1} more kernels)`;
}
