import type { ModuleStatus } from '../../api/module/module.ts';
import type { Finding } from './conditions.ts';
import type { DraProblem, DraState } from './device-classes/device-class-keeper.ts';
import type { KernelEvent } from './kernel-events.ts';

/** Returns what keeps the driver for dynamic resource allocation from being deployed, as a finding. */
export function draFinding(type: 'Ready' | 'Degraded', problem: DraProblem | undefined): Finding | undefined {
  return problem && { type, status: type === 'Ready' ? 'False' : 'True', ...problem };
}

/** Returns the event of such a problem that a status does not report yet. */
export function draEvents({ problem }: DraState, earlier: ModuleStatus | undefined): KernelEvent[] {
  if (problem === undefined) return [];
  const { reason, message: note } = problem;
  const isReported = earlier?.conditions?.some((one) => one.reason === reason && one.message === note);
  return isReported === true ? [] : [{ type: 'Warning', reason, action: 'Reconcile', note }];
}
