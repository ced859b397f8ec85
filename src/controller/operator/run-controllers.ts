import { whenAborted } from '../../shared/abortable.ts';
import type { ControllerSet } from './context.ts';

/** Signals that stop controllers. */
export interface ControllerSignals {
  /** Finish work in progress, and begin nothing new. */
  readonly stop: AbortSignal;
  /** Write nothing more. */
  readonly lost?: AbortSignal | undefined;
}

/** Runs controllers until they are stopped. When one fails, all stop. @throws the first error */
export async function runControllers(
  sets: readonly ControllerSet[],
  { stop, lost }: ControllerSignals,
): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([stop, failed.signal]);
  const running = sets.flatMap((set) => [
    ...set.controllers.map((controller) => controller.run({ signal, abort: lost })),
    ...(set.run === undefined ? [] : [set.run(signal)]),
  ]);
  const outcomes = await Promise.allSettled([
    ...running.map((one) =>
      one.catch((error: unknown) => {
        failed.abort();
        throw error;
      }),
    ),
    // The process keeps leading even if there is nothing to do.
    whenAborted(signal),
  ]);
  const failure = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
}
