import { afterAll, beforeAll, expect, it } from 'vitest';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { startFaultProxy, type Fault, type FaultProxy } from '../../../support/fault-proxy.ts';
import { describeWith } from '../../../support/programs.ts';
import { startKillableOperator } from './killable-operator.ts';
import { startEnvironment } from './environment.ts';
import { runScenario, workOfScenario, type Outcome, type Disturbance, type Environment } from './scenario.ts';

const outages: Record<string, Fault> = {
  'responds with 503': { kind: 'status', status: 503 },
  'closes connections': { kind: 'reset-at-once' },
};

describeWith(apiServerPrograms, 'a dependency of the operator', () => {
  let environment: Environment & AsyncDisposable;
  let proxy: FaultProxy;
  let undisturbed: Outcome;
  beforeAll(async () => {
    environment = await startEnvironment();
    proxy = await startFaultProxy({ target: environment.world.registry.url });
    undisturbed = await run('undisturbed');
  });
  afterAll(async () => {
    await proxy.close();
    await environment[Symbol.asyncDispose]();
  });

  /** Runs a scenario in which the operator reaches the registry through the proxy. Jobs reach it directly. */
  async function run(namespace: string, disturbance?: Disturbance): Promise<Outcome> {
    const world = { ...environment.world, image: (name: string) => `${proxy.host}/${name}` };
    const operator = await startKillableOperator(world, { namespace });
    try {
      return await runScenario({ ...environment, world }, namespace, disturbance);
    } finally {
      await operator.kill();
    }
  }

  it.each(Object.entries(outages))(
    'may be unavailable: a registry that %s causes no build',
    async (_name, fault) => {
      const namespace = `registry-${fault.kind}`;
      const { observer, runner } = environment;
      let before = { jobs: 0, daemonSets: 0 };
      const count = (): typeof before => ({
        jobs: runner.finished(namespace).length,
        daemonSets: observer.daemonSets(namespace).length,
      });
      const outcome = await run(namespace, async (when, part) => {
        if (when === 'before') {
          before = count();
          proxy.reset(() => fault);
          return;
        }
        await observer.until(() => {
          const { status } = observer.module(namespace) ?? {};
          expect(status?.kernels?.[0]?.phase).toBe('Checking');
          expect(status?.conditions).toContainEqual(
            expect.objectContaining({ type: 'Degraded', status: 'True' }),
          );
        });
        // DaemonSets stay as long as their kernel does.
        const remaining = part === 'kernel' ? before.daemonSets - 1 : Math.max(1, before.daemonSets);
        await observer.until(() => expect(count()).toEqual({ jobs: before.jobs, daemonSets: remaining }));
        proxy.reset();
      });
      expect(outcome).toEqual(undisturbed);
      expect(outcome.work).toEqual(workOfScenario);
      expect(await observer.violations()).toEqual([]);
    },
  );

  it('may crash: an API server restarts without its history', async () => {
    const { api } = environment.world;
    const outcome = await run('api-server', async (when) => {
      if (when === 'before') return;
      await api.compact();
      await api.kill();
      await api.start();
    });
    expect(outcome).toEqual(undisturbed);
    expect(await environment.observer.violations()).toEqual([]);
  });
});
