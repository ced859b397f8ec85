import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { configMaps } from '../../../../src/controller/observe/cluster/resources.ts';
import { managedClusterModules } from '../../../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { managedClusters } from '../../../../src/controller/hub/fleet/managed-clusters.ts';
import { manifestWorks } from '../../../../src/controller/hub/fleet/manifest-works.ts';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import { startMortal, startPlayer, startSucceeded, type Player } from './hub-chaos.ts';
import { contentOf, hubNamespace, startHubWorld, type HubWorld } from '../hub-world.ts';

const kernel = '6.1.0-13-amd64';
const waiting = { timeout: 60_000, interval: 30 };
const sign = { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } };
const everyPiece = ['build', 'sign', 'build', 'sign'];

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
   * The work of a ManagedClusterModule, which an older one comes to share while it is under way. Then a new recipe,
   * and the one whose work it was goes. Gives the work that was done.
   */
  async function playStory(name: string): Promise<readonly string[]> {
    const player = startPlayer(world, signed);
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
    await vi.waitFor(() => expect(player.work.length).toBeGreaterThan(0), waiting);
    await world.client.patch(managedClusters, { name: older }, { metadata: { labels: { for: older } } });
    const first = await settled(name, [older, younger], { jobs: 2, player });
    await world.client.patch(configMaps, recipe, { data: { dockerfile: 'FROM scratch\nLABEL a=b\n' } });
    const second = await settled(name, [older, younger], { jobs: 4, player });
    expect(second).not.toBe(first);
    await remove(younger);
    expect(await settled(name, [older], { jobs: 4, player })).toBe(second);
    await player.end();
    await remove(older);
    return player.work;
  }

  /** Waits until all have the image, and gives its digest. */
  async function settled(
    name: string,
    modules: readonly string[],
    { jobs, player }: { readonly jobs: number; readonly player: Player },
  ): Promise<string | undefined> {
    return vi.waitFor(async () => {
      expect(player.work.length).toBeGreaterThanOrEqual(jobs);
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

  it('is done once, whoever comes first after a restart at any write', async () => {
    const alone = await startMortal(world);
    expect(await playStory('undisturbed')).toEqual(everyPiece);
    await alone.end();
    const writes = alone.connection.writes.length;
    let deaths = 0;
    for (let write = 1; write <= writes; write++) {
      const operator = await startSucceeded(world, { write, learns: write % 2 === 0 });
      expect(await playStory(`killed-${write}`), `death at write ${write}`).toEqual(everyPiece);
      deaths += Number(operator.hasDied);
      await operator.end();
    }
    // How writes are merged depends on the time, so the last deaths may not come.
    expect(deaths).toBeGreaterThan(writes * 0.7);
  }, 300_000);

  it('is done once beside a rival', async () => {
    const rivals = [await startMortal(world), await startMortal(world)];
    for (let index = 0; index < 4; index++) expect(await playStory(`rivals-${index}`)).toEqual(everyPiece);
    await Promise.all(rivals.map((rival) => rival.end()));
  }, 120_000);
});
