import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { configMaps } from '../../../../src/controller/observe/cluster/resources.ts';
import { managedClusterModules } from '../../../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { managedClusters } from '../../../../src/controller/hub/fleet/managed-clusters.ts';
import { manifestWorks } from '../../../../src/controller/hub/fleet/manifest-works.ts';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import { startKillableHub, startJobRunner, startHubWithSuccessor, type JobRunner } from './killable-hub.ts';
import { contentOf, hubNamespace, startHubWorld, type HubWorld } from '../hub-world.ts';

const kernel = '6.1.0-13-amd64';
const waiting = { timeout: 60_000, interval: 30 };
const sign = { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } };
const allWork = ['build', 'sign', 'build', 'sign'];

describeWith([...apiServerPrograms, 'ocm-work'], 'work that ManagedClusterModules share', () => {
  let world: HubWorld;
  const signed = new Set<string>();
  beforeAll(async () => {
    world = await startHubWorld();
  }, 120_000);
  afterAll(() => world?.[Symbol.asyncDispose]());

  const imagesOf = async (name: string): Promise<(string | undefined)[]> =>
    (await world.works(name)).flatMap((work) => contentOf(work).images);

  /**
   * Starts the work of a ManagedClusterModule, which an older one then shares; changes the recipe; and deletes the
   * one that the work began with. Returns the work that was done.
   */
  async function runScenario(name: string): Promise<readonly string[]> {
    const runner = startJobRunner(world, signed);
    const [older, younger] = [`${name}-older`, `${name}-younger`];
    const recipe = { namespace: hubNamespace, name };
    const container = {
      sign,
      build: { dockerfileConfigMap: { name } },
      containerImage: world.jobs.image(`${name}:\${KERNEL_FULL_VERSION}`),
    };
    await world.client.create(configMaps, { metadata: recipe, data: { dockerfile: 'FROM scratch\n' } });
    await world.apply(older, container);
    await world.cluster(older, {}, [kernel]);
    await world.cluster(younger, { for: younger }, [kernel]);
    await world.apply(younger, container);
    await vi.waitFor(() => expect(runner.work.length).toBeGreaterThan(0), waiting);
    await world.client.patch(managedClusters, { name: older }, { metadata: { labels: { for: older } } });
    const first = await settled(name, [older, younger], { jobs: 2, runner });
    await world.client.patch(configMaps, recipe, { data: { dockerfile: 'FROM scratch\nLABEL a=b\n' } });
    const second = await settled(name, [older, younger], { jobs: 4, runner });
    expect(second).not.toBe(first);
    await remove(younger);
    expect(await settled(name, [older], { jobs: 4, runner })).toBe(second);
    await runner.end();
    await remove(older);
    return runner.work;
  }

  /** Waits until all have the image, and returns its digest. */
  async function settled(
    name: string,
    modules: readonly string[],
    { jobs, runner }: { readonly jobs: number; readonly runner: JobRunner },
  ): Promise<string | undefined> {
    return vi.waitFor(async () => {
      expect(runner.work.length).toBeGreaterThanOrEqual(jobs);
      expect(await world.jobs.jobs(hubNamespace)).toEqual([]);
      const digests = [];
      for (const module of modules) {
        const { status } = await world.module(module);
        expect(status?.phases).toEqual({ Applying: 1 });
        const digest = status?.images?.[0]?.digest;
        expect(await imagesOf(module)).toEqual([`${world.jobs.image(name)}@${digest}`]);
        expect(signed).toContain(digest);
        digests.push(digest);
      }
      expect(new Set(digests).size).toBe(1);
      return digests[0];
    }, waiting);
  }

  async function remove(name: string): Promise<void> {
    await world.client.delete(managedClusterModules, { name });
    for (const { metadata } of await world.works(name)) await world.client.delete(manifestWorks, metadata);
  }

  it('is done once, whichever registers first after a restart at any write', async () => {
    const alone = await startKillableHub(world);
    expect(await runScenario('undisturbed')).toEqual(allWork);
    await alone.end();
    const writes = alone.connection.writes.length;
    let kills = 0;
    for (let write = 1; write <= writes; write++) {
      const operator = await startHubWithSuccessor(world, { write, receivesResponse: write % 2 === 0 });
      expect(await runScenario(`killed-${write}`), `killed at write ${write}`).toEqual(allWork);
      kills += Number(operator.wasKilled);
      await operator.end();
    }
    // How writes are merged depends on the time, so the last writes may not happen.
    expect(kills).toBeGreaterThan(writes * 0.7);
  }, 300_000);

  it('is done once if two operators compete', async () => {
    const competitors = [await startKillableHub(world), await startKillableHub(world)];
    for (let index = 0; index < 4; index++)
      expect(await runScenario(`competitors-${index}`)).toEqual(allWork);
    await Promise.all(competitors.map((competitor) => competitor.end()));
  }, 120_000);
});
