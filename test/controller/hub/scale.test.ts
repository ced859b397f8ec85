import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { createConnection, loadConfig } from '../../../src/controller/runtime/api/connection.ts';
import { createLoadFleet, type LoadFleet } from './load-fleet.ts';

const waiting = { timeout: 100_000, interval: 200 };

describeWith([...apiServerPrograms, 'ocm-work'], 'the hub with a fleet', () => {
  let fleet: LoadFleet;
  /** Writes of the operator, by method and resource. */
  const writes = new Map<string, number>();
  let stop: () => Promise<void>;
  beforeAll(async () => {
    fleet = await createLoadFleet({ clusters: 80, modules: 10, kernels: 4, drivers: 8, groups: 2 });
    const connection = createConnection(await loadConfig(fleet.world.jobs.api.kubeconfig));
    const send: typeof connection.send = (request) => {
      const resource = /\/(manifestworks|jobs|managedclustermodules)\b/.exec(request.path)?.[1];
      const key = `${request.method} ${resource}`;
      if (request.method !== 'GET' && resource !== undefined) writes.set(key, (writes.get(key) ?? 0) + 1);
      return connection.send(request);
    };
    const client = new ApiClient({
      connection: { ...connection, send },
      fieldManager: 'kmm-operator',
      userAgent: 'kmm-sign-tests',
    });
    stop = await fleet.world.startControllers({ client, queue: { maxConcurrentJobs: 5 } });
  }, 120_000);
  afterAll(async () => {
    await stop?.();
    await fleet?.[Symbol.asyncDispose]();
  });

  const converged = () =>
    vi.waitFor(() => {
      expect(fleet.progress()).toEqual({ works: fleet.works, ready: fleet.works });
    }, waiting);

  it('does each piece of work once for all modules, and writes each ManifestWork once', async () => {
    await fleet.createModules();
    await converged();
    expect(fleet.works).toBe(400);
    expect(fleet.jobs()).toHaveLength(fleet.distinctWork);
    expect(new Set(fleet.jobs()).size).toBe(fleet.distinctWork);
    expect(writesOf('manifestworks')).toBe(fleet.works);
    expect(writesOf('jobs', 'POST')).toBe(fleet.distinctWork);
    expect(fleet.tagged()).toEqual([]);
  }, 120_000);

  it('writes nothing at rest, though agents go on telling', async () => {
    await vi.waitFor(async () => expect(await fleet.world.jobs.jobs('kmm-hub')).toEqual([]), waiting);
    const before = total();
    await fleet.world.publish('cluster-0', ['6.0.0-generic']);
    expect(total()).toBe(before);
  });

  it('makes the images of a new kernel only, and one write for each ManifestWork, when all kernels change', async () => {
    const [jobs, works] = [fleet.jobs().length, writesOf('manifestworks')];
    await fleet.upgrade();
    await converged();
    expect(fleet.jobs().length - jobs).toBe(fleet.distinctWorkOfKernel);
    expect(writesOf('manifestworks') - works).toBe(fleet.works);
    expect(fleet.workWrites()).toBe(2 * fleet.works);
    expect(fleet.tagged()).toEqual([]);
  }, 120_000);

  function writesOf(resource: string, method = 'PATCH'): number {
    return writes.get(`${method} ${resource}`) ?? 0;
  }
  function total(): number {
    return [...writes.values()].reduce((sum, count) => sum + count, 0);
  }
});
