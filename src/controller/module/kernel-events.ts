import type { KernelPhase, KernelStatus } from '../../api/module/module.ts';
import type { ImageState } from '../image-pipeline/request.ts';
import type { NodeGroup } from './node-groups.ts';

type EarlierStatus = Pick<KernelStatus, 'phase' | 'reason' | 'job'>;

/** An event about a kernel. */
export interface KernelEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly action: string;
  readonly note: string;
  /** The Job that succeeded, if the event reports one. */
  readonly succeeded?: { readonly kind: 'build' | 'sign'; readonly job: string } | undefined;
}

/** Returns the events for what changed since a kernel's status was written. */
export function kernelEvents(
  { group, state }: { readonly group: Pick<NodeGroup, 'kernel'>; readonly state: ImageState },
  earlier: EarlierStatus | undefined,
): KernelEvent[] {
  const { phase, reason, message, job, digest } = state;
  const isNews = earlier?.phase !== phase || earlier.reason !== reason || earlier.job !== job;
  if (!isNews) return [];
  const kernel = group.kernel.release;
  const events: KernelEvent[] = [];
  if (earlier !== undefined && hasSucceeded(earlier, phase)) {
    const kind = earlier.phase === 'Building' ? 'build' : 'sign';
    const word = kind === 'build' ? 'Build' : 'Sign';
    events.push({
      ...normal(`${word}Succeeded`, word, `${word} job succeeded for kernel ${kernel}`),
      succeeded: { kind, job: earlier.job ?? '' },
    });
  }
  const isWorking = phase === 'Building' || phase === 'Signing';
  if (isWorking && job !== undefined && earlier?.job !== job) {
    const kind = phase === 'Building' ? 'Build' : 'Sign';
    events.push(normal(`${kind}Created`, kind, `${kind} created for kernel ${kernel}: Job ${job}`));
  }
  if (phase === 'Failed') {
    events.push({ type: 'Warning', reason, action: 'Reconcile', note: `Kernel ${kernel}: ${message}` });
  }
  if (phase === 'Ready') {
    events.push(normal('ImageReady', 'Reconcile', `Image for kernel ${kernel} is ready: ${digest ?? ''}`));
  }
  return events;
}

/** Returns whether the Job in the earlier status has succeeded. A registry error is not evidence of it. */
function hasSucceeded(earlier: EarlierStatus, phase: KernelPhase): boolean {
  const wasWorking = earlier.phase === 'Building' || earlier.phase === 'Signing';
  return wasWorking && earlier.phase !== phase && phase !== 'Failed' && phase !== 'Checking';
}

function normal(reason: string, action: string, note: string): KernelEvent {
  return { type: 'Normal', reason, action, note };
}
