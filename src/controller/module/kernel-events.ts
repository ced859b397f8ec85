import type { KernelStatus } from '../../api/module/status.ts';
import type { KernelResult } from './kernel-result.ts';

/** Something to tell of a kernel. */
export interface KernelEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly action: string;
  readonly note: string;
}

/** What happened to a kernel's image between what was persisted and now. */
export function kernelEvents(
  { group, state }: KernelResult,
  earlier: KernelStatus | undefined,
): KernelEvent[] {
  const { phase, reason, message, job, digest } = state;
  const isNews = earlier?.phase !== phase || earlier.reason !== reason || earlier.job !== job;
  if (!isNews) return [];
  const kernel = group.kernel.release;
  const events: KernelEvent[] = [];
  const ended = earlier?.phase;
  if (
    (ended === 'Building' || ended === 'Signing') &&
    phase !== ended &&
    phase !== 'Failed' &&
    phase !== 'Checking'
  ) {
    const kind = ended === 'Building' ? 'Build' : 'Sign';
    events.push(normal(`${kind}Succeeded`, kind, `${kind} job succeeded for kernel ${kernel}`));
  }
  if ((phase === 'Building' || phase === 'Signing') && earlier?.job !== job) {
    const kind = phase === 'Building' ? 'Build' : 'Sign';
    events.push(normal(`${kind}Created`, kind, `${kind} created for kernel ${kernel}: Job ${job ?? ''}`));
  }
  if (phase === 'Failed') {
    events.push({ type: 'Warning', reason, action: 'Reconcile', note: `Kernel ${kernel}: ${message}` });
  }
  if (phase === 'Ready') {
    events.push(normal('ImageReady', 'Reconcile', `Image for kernel ${kernel} is ready: ${digest ?? ''}`));
  }
  return events;
}

function normal(reason: string, action: string, note: string): KernelEvent {
  return { type: 'Normal', reason, action, note };
}
