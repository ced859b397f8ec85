import { afterEach, beforeEach, expect, it } from 'vitest';
import { jobs } from '../../../../src/controller/observe/cluster/resources.ts';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import { hubNamespace, startHubWorld, type HubWorld } from '../hub-world.ts';
import { reasonsOf } from '../../module/cluster-objects.ts';

const build = { dockerfileConfigMap: { name: 'build' } };

describeWith([...apiServerPrograms, 'ocm-work'], 'the Jobs of a hub', () => {
  let world: HubWorld;
  beforeEach(async () => {
    world = await startHubWorld();
  }, 120_000);
  afterEach(() => world?.[Symbol.asyncDispose]());

  it('respect the limit of concurrent Jobs, and all run in the end', async () => {
    await world.startControllers({ queue: { maxConcurrentJobs: 1 } });
    await world.cluster('queue', { for: 'queue' }, ['6.1.0', '6.2.0']);
    await world.apply('queue', { build });
    for (const remaining of [1, 0]) {
      const [job] = await world.activeJobs('build', 1);
      await world.eventually('queue', ({ status }) => {
        const reasons = status?.images?.map(({ reason }) => reason) ?? [];
        expect(reasons.filter((reason) => reason === 'BuildQueued')).toHaveLength(remaining);
      });
      await world.jobs.build(job!);
    }
    await world.eventually('queue', ({ status }) => expect(status?.phases).toEqual({ Applying: 1 }));
    await world.events('queue', (events) => {
      expect(reasonsOf(events).filter((reason) => reason === 'BuildCreated')).toHaveLength(2);
    });
  });

  it('wait for Kueue if it is configured', async () => {
    await world.startControllers({ queue: { kueueQueue: 'builds' } });
    await world.cluster('kueue', { for: 'kueue' }, ['6.1.0']);
    await world.apply('kueue', { build });
    const [job] = await world.activeJobs('build', 1);
    expect(job?.spec?.suspend).toBe(true);
    expect(job?.metadata.labels).toMatchObject({ 'kueue.x-k8s.io/queue-name': 'builds' });
    expect(job?.metadata.namespace).toBe(hubNamespace);
    expect(job?.metadata.ownerReferences).toBeUndefined();
    // As the Job controller reports one that is suspended, for as long as Kueue has no capacity.
    const now = new Date().toISOString();
    const condition = { type: 'Suspended', status: 'True', reason: 'JobSuspended', lastTransitionTime: now };
    const { metadata } = job!;
    const status = { conditions: [condition] };
    await world.client.patch(jobs, metadata, { status }, { subresource: 'status' });
    world.later(5 * 3_600_000);
    await world.cluster('kueue-2', { for: 'kueue' }, ['6.1.0']);
    await world.eventually('kueue', (module) => {
      expect(module.status?.phases).toEqual({ Building: 2 });
      expect(module.status?.images).toMatchObject([{ phase: 'Building', reason: 'JobSuspended' }]);
    });
    const [waiting] = await world.jobs.jobs(hubNamespace);
    expect(waiting?.metadata.uid).toBe(metadata.uid);
    await world.client.patch(jobs, metadata, { spec: { suspend: false } });
    await world.jobs.build(waiting!);
    await world.eventually('kueue', (module) => expect(module.status?.phases).toEqual({ Applying: 2 }));
  });
});
