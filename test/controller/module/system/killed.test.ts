import pLimit from 'p-limit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import type { KillPoint } from './killable-connection.ts';
import { restartUntilAborted } from './killable-operator.ts';
import { startEnvironment } from './environment.ts';
import { runScenario, workOfScenario, type Outcome, type Environment } from './scenario.ts';

/** Concurrent scenarios. */
const concurrency = 8;
/** Milliseconds for all of them, on a busy machine. */
const timeout = 300_000;

describeWith(apiServerPrograms, 'an operator that is killed', () => {
  let environment: Environment & AsyncDisposable;
  let undisturbed: { readonly outcome: Outcome; readonly writes: readonly string[] };
  beforeAll(async () => {
    environment = await startEnvironment();
    const { outcome, runs } = await runWith('undisturbed', () => undefined);
    undisturbed = { outcome, writes: runs.flat() };
  });
  afterAll(() => environment[Symbol.asyncDispose]());

  /** Runs a scenario with operators that are killed. */
  async function runWith(
    namespace: string,
    killPointOf: (run: number) => KillPoint | undefined,
  ): Promise<{ readonly outcome: Outcome; readonly runs: readonly (readonly string[])[] }> {
    const stop = new AbortController();
    const running = restartUntilAborted(environment.world, namespace, killPointOf, stop.signal);
    try {
      const outcome = await runScenario(environment, namespace);
      return { outcome, runs: await stopped() };
    } finally {
      await stopped();
    }

    async function stopped(): Promise<string[][]> {
      stop.abort();
      return running;
    }
  }

  it('completes a scenario, if it is not killed, with each piece of work done once', async () => {
    expect(undisturbed.outcome.work).toEqual(workOfScenario);
    expect(undisturbed.outcome.daemonSets.length).toBe(2);
    expect(await environment.observer.violations()).toEqual([]);
    expect(environment.observer.imagesSeen('undisturbed').length).toBe(3);
    // The operator is killed at each kind of write.
    for (const kind of [
      /POST .*jobs$/,
      /PATCH .*daemonsets/,
      /PATCH .*status$/,
      /DELETE .*jobs/,
      /DELETE .*daemonsets/,
    ]) {
      expect(undisturbed.writes).toContainEqual(expect.stringMatching(kind));
    }
  });

  it.each([
    ['after each write', true],
    ['at each write, before the response', false],
  ])(
    'has a successor that completes the scenario if it is killed %s',
    async (_when, receivesResponse) => {
      const limit = pLimit(concurrency);
      const kills = await Promise.all(
        undisturbed.writes.map((_, index) =>
          limit(async () => {
            const write = index + 1;
            const { outcome, runs } = await runWith(
              `${receivesResponse ? 'after' : 'before'}-${write}`,
              (run) => (run === 0 ? { write, receivesResponse } : undefined),
            );
            expect(outcome, `killed at write ${write}`).toEqual(undisturbed.outcome);
            return runs.length - 1;
          }),
        ),
      );
      // How status writes are merged depends on the time, so the last writes may not happen.
      expect(kills.filter((count) => count === 1).length).toBeGreaterThan(kills.length * 0.75);
      expect(await environment.observer.violations()).toEqual([]);
    },
    timeout,
  );

  it('completes the scenario even if every operator is killed at its fourth write', async () => {
    const { outcome, runs } = await runWith('always', (run) => ({
      write: 4,
      receivesResponse: run % 2 === 0,
    }));
    expect(outcome).toEqual(undisturbed.outcome);
    expect(runs.length).toBeGreaterThan(5);
    expect(await environment.observer.violations()).toEqual([]);
  });
});
