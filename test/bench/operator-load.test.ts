import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { createLoadCluster, type LoadCluster } from '../../bench/operator/cluster.ts';
import { callsOf, startOperatorProcess, type OperatorProcess } from '../../bench/operator/report.ts';
import { apiServerPrograms } from '../support/api-server.ts';
import { describeWith } from '../support/programs.ts';

const size = { nodes: 300, modules: 20 };
const waiting = { timeout: 60_000, interval: 100 };

describeWith(apiServerPrograms, 'the operator in a large cluster', () => {
  let cluster: LoadCluster;
  let operator: OperatorProcess;
  beforeAll(async () => {
    cluster = await createLoadCluster(size);
    operator = startOperatorProcess(cluster.api.kubeconfig);
  });
  afterAll(async () => {
    await operator[Symbol.asyncDispose]();
    await cluster[Symbol.asyncDispose]();
  });

  /** Waits until nothing is worked on, and the answers to all that was written have come. */
  async function quiet(): Promise<void> {
    let earlier = await operator.report();
    await vi.waitFor(async () => {
      const [before, report] = [earlier, await operator.report()];
      earlier = report;
      expect([report.busy, report.calls]).toEqual([0, before.calls]);
    }, waiting);
  }

  it('lists each resource once, by pages, and writes each object as often as it changes', async () => {
    const all = { ready: size.modules, daemonSets: cluster.daemonSets };
    await vi.waitFor(async () => expect(await cluster.progress()).toEqual(all), waiting);
    await quiet();
    const { calls, errors } = await operator.forget();
    expect(errors).toBe(0);
    // Five caches and what Modules refer to: a service account and a Secret for each of ten namespaces, at most.
    expect(calls['LIST']).toBeLessThanOrEqual(25);
    expect(calls['WATCH']).toBeLessThanOrEqual(25);
    // Each DaemonSet once; each status once or, with what came meanwhile, twice.
    expect(calls['PATCH']).toBeLessThanOrEqual(cluster.daemonSets + 3 * size.modules);
    expect(calls['DELETE']).toBeUndefined();
  });

  it('asks nothing of the API server while nodes only say that they live', async () => {
    await cluster.heartbeats(size.nodes);
    // What it knows, it learnt after all that came before.
    await cluster.addNode('marker');
    await vi.waitFor(async () => expect((await operator.report()).nodes).toBe(size.nodes + 1), waiting);
    await quiet();
    const { calls, reconciles } = await operator.forget();
    expect(calls).toEqual({});
    expect(reconciles).toEqual([]);
  });

  it('writes only what a new kernel on a node changes', async () => {
    const concerned = await cluster.changeKernel();
    await quiet();
    const { calls, errors } = await operator.forget();
    expect(errors).toBe(0);
    expect(callsOf({ ...(await operator.report()), calls })).toBeLessThanOrEqual(concerned * 6);
    expect(calls['LIST']).toBeUndefined();
  });
});
