import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { ManagedClusterModule } from '../../../../src/api/managed-cluster-module.ts';
import { managedClusterModules } from '../../../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { createRuntimeMetrics } from '../../../../src/controller/runtime/metrics.ts';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import { argumentsOf } from '../../module/module-world.ts';
import { contentOf, hubNamespace, startHubWorld, type HubWorld } from '../hub-world.ts';
import { clientThrough, reconciles } from '../../runtime/counting-client.ts';

const kernel = '6.1.0-13-amd64';
const waiting = { timeout: 30_000, interval: 50 };
const build = { dockerfileConfigMap: { name: 'build' } };
const otherBuild = { ...build, buildArgs: [{ name: 'A', value: 'B' }] };

function settled({ status }: ManagedClusterModule): void {
  expect(status?.phases).toEqual({ Applying: 1 });
}

function conflicting({ status }: ManagedClusterModule): void {
  expect(status?.clusters?.[0]).toMatchObject({ phase: 'Failed', reason: 'ConflictingMappings' });
  expect(status?.images?.[0]).toMatchObject({ phase: 'Failed', reason: 'ConflictingMappings' });
}

describeWith([...apiServerPrograms, 'ocm-work'], 'a hub’s operator after a restart', () => {
  let world: HubWorld;
  beforeAll(async () => {
    world = await startHubWorld();
  }, 120_000);
  afterAll(() => world?.[Symbol.asyncDispose]());

  it('keeps an image as it was built, and rebuilds it for another one once its owner is deleted', async () => {
    const [older, younger] = ['stand-a', 'stand-b'];
    let stop = await world.startControllers();
    const containerImage = world.jobs.image('stand:${KERNEL_FULL_VERSION}');
    for (const name of [older, younger]) await world.cluster(name, { for: name }, [kernel]);
    await world.jobs.push(world.jobs.image(`${older}:${kernel}`), 'other');
    await world.apply(older, { build: otherBuild });
    await world.apply(younger, { build, containerImage });
    await world.jobs.build((await world.activeJobs('build', 1))[0]!);
    await world.eventually(older, settled);
    await world.eventually(younger, settled);
    const built = contentOf((await world.works(younger))[0]).images;
    await world.apply(older, { build: otherBuild, containerImage });
    await world.eventually(older, conflicting);
    await stop();
    stop = await world.startControllers();
    await world.cluster('stand-c', { for: younger }, [kernel]);
    await vi.waitFor(async () => expect(await world.works(younger)).toHaveLength(2), waiting);
    await world.eventually(older, conflicting);
    for (const work of await world.works(younger)) expect(contentOf(work).images).toEqual(built);
    expect(await world.jobs.jobs(hubNamespace)).toEqual([]);
    await world.client.delete(managedClusterModules, { name: younger });
    const [job] = await world.activeJobs('build', 1);
    expect(argumentsOf(job!)).toContain('--build-arg=A=B');
    await world.jobs.build(job!, 'anew');
    await world.eventually(older, settled);
    expect(contentOf((await world.works(older))[0]).images).not.toEqual(built);
    await stop();
  });

  it('waits for all users of an image before it starts work', async () => {
    const containerImage = world.jobs.image('heard:${KERNEL_FULL_VERSION}');
    const names = Array.from({ length: 10 }, (_, index) => `heard-${index}`);
    for (const [index, name] of names.entries()) {
      await world.cluster(name, { for: name }, [kernel]);
      await world.apply(name, { build, containerImage }, { imageRebuildTriggerGeneration: index });
    }
    const jobs: string[] = [];
    const statuses = Promise.withResolvers<void>();
    // The first few users are registered. Until their status is written, the others have to wait for their turn.
    const client = await clientThrough(world.jobs.api.kubeconfig, async (request, send) => {
      if (request.method === 'POST' && /\/jobs(?:\?|$)/.test(request.path)) jobs.push(request.path);
      if (request.method === 'PUT' && request.path.includes('/managedclustermodules/'))
        await statuses.promise;
      return send(request);
    });
    const registry = new Registry();
    const stop = await world.startControllers({ client, metrics: createRuntimeMetrics(registry) });
    try {
      await vi.waitFor(async () => {
        const looked = await reconciles(registry, 'hub-image');
        expect(looked > 5 || jobs.length > 0).toBe(true);
      }, waiting);
      expect(jobs).toEqual([]);
    } finally {
      statuses.resolve();
    }
    await world.jobs.build((await world.activeJobs('build', 1))[0]!);
    for (const name of names) await world.eventually(name, settled);
    expect(jobs).toHaveLength(1);
    await vi.waitFor(async () => expect(await world.jobs.jobs(hubNamespace)).toEqual([]), waiting);
    await stop();
    await world.startControllers({ client });
    await world.cluster('heard-last', { for: 'heard-0' }, [kernel]);
    await vi.waitFor(async () => expect(await world.works('heard-0')).toHaveLength(2), waiting);
    expect(jobs).toHaveLength(1);
  });
});
