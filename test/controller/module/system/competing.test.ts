import { afterAll, beforeAll, expect, it } from 'vitest';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import { startCandidate, type Candidate } from './candidate.ts';
import { startKillableOperator } from './killable-operator.ts';
import { startEnvironment } from './environment.ts';
import { runScenario, workOfScenario, type Outcome, type Environment } from './scenario.ts';

/** As in production: results of a registry are cached for a while. */
const images = { missingTtl: 10_000, foundTtl: 600_000 };

describeWith(apiServerPrograms, 'operators that compete', () => {
  let environment: Environment & AsyncDisposable;
  let alone: Outcome;
  beforeAll(async () => {
    environment = await startEnvironment();
    alone = await runWith('alone', 1);
  });
  afterAll(() => environment[Symbol.asyncDispose]());

  /** Runs a scenario with concurrent operators that do not elect a leader. */
  async function runWith(namespace: string, operators: number): Promise<Outcome> {
    const running = await Promise.all(
      Array.from({ length: operators }, () =>
        startKillableOperator(environment.world, { namespace, run: { images } }),
      ),
    );
    try {
      return await runScenario(environment, namespace);
    } finally {
      await Promise.all(running.map((operator) => operator.kill()));
    }
  }

  it('do no work twice, and reach the same outcome as one alone', async () => {
    const outcomes = await Promise.all(Array.from({ length: 8 }, (_, index) => runWith(`two-${index}`, 2)));
    expect(alone.work).toEqual(workOfScenario);
    for (const outcome of outcomes) expect(outcome).toEqual(alone);
    expect(await environment.observer.violations()).toEqual([]);
  });

  it('work one at a time if they elect a leader, and another one continues if it is killed', async () => {
    const namespace = 'elected';
    const stop = new AbortController();
    const [first, second] = [
      await startCandidate(environment.world, { namespace, signal: stop.signal }),
      await startCandidate(environment.world, { namespace, signal: stop.signal }),
    ];
    const leader = (): Candidate | undefined => [first, second].find((one) => one.isLeading());
    let killed: Candidate | undefined;
    const outcome = await runScenario(environment, namespace, async (when, part) => {
      if (when === 'before' || part !== 'dockerfile') return;
      killed = leader();
      const waiting = killed === first ? second : first;
      expect(waiting.connection.writes.filter((write) => !write.includes('/leases'))).toEqual([]);
      killed?.connection.kill();
    });
    const other = killed === first ? second : first;
    expect(killed).toBeDefined();
    expect(leader()).toBe(other);
    expect(outcome).toEqual(alone);
    stop.abort();
    await Promise.all([first.ended, second.ended]);
    expect(await environment.observer.violations()).toEqual([]);
  });
});
