import { whenAborted } from '../../shared/abortable.ts';
import type { ControllerSet } from './context.ts';

/** Signals under which controllers run. */
export interface ControllerSignals {
  /** End what is begun, begin nothing. */
  readonly stop: AbortSignal;
  /** Write nothing more. */
  readonly lost?: AbortSignal | undefined;
}

/** Runs controllers until they are told to stop. When one fails, all stop. @throws what the first one threw */
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
    // Leading goes on where there is nothing to do.
    whenAborted(signal),
  ]);
  const failure = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
}
