import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { configMaps } from '../../../../src/controller/observe/cluster/resources.ts';
import { managedClusterModules } from '../../../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { managedClusters } from '../../../../src/controller/hub/fleet/managed-clusters.ts';
import { manifestWorks } from '../../../../src/controller/hub/fleet/manifest-works.ts';
import { Informer } from '../../../../src/controller/runtime/cache/informer.ts';
import type { CustomResource } from '../../../../src/controller/observe/cluster/resources.ts';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import { startMortal, startPlayer, startSucceeded, type Player } from './hub-chaos.ts';
import { contentOf, hubNamespace, startHubWorld, type HubWorld } from '../hub-world.ts';

const kernel = '6.1.0-13-amd64';
const waiting = { timeout: 60_000, interval: 30 };
const container = {
  build: { dockerfileConfigMap: { name: 'build' } },
  sign: { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } },
};

describeWith([...apiServerPrograms, 'ocm-work'], 'a hub’s operator that is killed, or has a rival', () => {
  let world: HubWorld;
  /** Digests that sign Jobs made, and images that ManifestWorks named for kernels at any time. */
  const signed = new Set<string>();
  const named = new Set<string | undefined>();
  const stop = new AbortController();
  let watching: Promise<void>;
  beforeAll(async () => {
    world = await startHubWorld();
    const works = new Informer<CustomResource, undefined>({
      client: world.client,
      resource: manifestWorks,
      project: (work) => {
        for (const image of contentOf(work).images) named.add(image);
        return undefined;
      },
    });
    watching = works.run(stop.signal);
  }, 120_000);
  afterAll(async () => {
    stop.abort();
    await watching;
    await world?.[Symbol.asyncDispose]();
  });

  async function imagesOf(name: string): Promise<(string | undefined)[]> {
    return (await world.works(name)).flatMap((work) => contentOf(work).images);
  }

  /** A rollout, a new recipe, a cluster that leaves. Gives the work that was done. */
  async function playStory(name: string): Promise<readonly string[]> {
    const player = startPlayer(world, signed);
    const recipe = { namespace: hubNamespace, name };
    await world.client.create(configMaps, { metadata: recipe, data: { dockerfile: 'FROM scratch\n' } });
    for (const cluster of [`${name}-a`, `${name}-b`]) await world.cluster(cluster, { for: name }, [kernel]);
    await world.apply(name, { ...container, build: { dockerfileConfigMap: { name } } });
    await settled(name, { clusters: 2, jobs: 2, player });
    const before = await imagesOf(name);
    await world.client.patch(configMaps, recipe, { data: { dockerfile: 'FROM scratch\nLABEL a=b\n' } });
    await settled(name, { clusters: 2, jobs: 4, player });
    expect(await imagesOf(name)).not.toEqual(before);
    await world.client.patch(managedClusters, { name: `${name}-b` }, { metadata: { labels: { for: null } } });
    await settled(name, { clusters: 1, jobs: 4, player });
    await player.end();
    return player.work;
  }

  async function settled(
    name: string,
    { clusters, jobs, player }: { clusters: number; jobs: number; player: Player },
  ): Promise<void> {
    await vi.waitFor(async () => {
      expect(player.work.length).toBeGreaterThanOrEqual(jobs);
      expect(await world.jobs.jobs(hubNamespace)).toEqual([]);
      const { status } = await world.module(name);
      expect(status?.phases).toEqual({ Applying: clusters });
      const digest = status?.images?.[0]?.digest;
      const image = `${world.jobs.image(name)}@${digest}`;
      expect(await imagesOf(name)).toEqual(Array.from({ length: clusters }, () => image));
    }, waiting);
  }

  async function cleared(name: string): Promise<void> {
    await world.client.delete(managedClusterModules, { name });
    for (const { metadata } of await world.works(name)) await world.client.delete(manifestWorks, metadata);
  }

  function expectSignedOnly(): void {
    const digests = [...named].map((image) => image?.split('@')[1]);
    for (const digest of digests) expect(signed).toContain(digest);
    expect(digests.length).toBeGreaterThan(0);
  }

  it('does all work once, whichever of its writes it dies with', async () => {
    const alone = await startMortal(world);
    expect(await playStory('undisturbed')).toEqual(['build', 'sign', 'build', 'sign']);
    await cleared('undisturbed');
    await alone.end();
    const writes = alone.connection.writes.length;
    expect(alone.connection.writes).toContainEqual(expect.stringMatching(/PATCH .*manifestworks/));
    expect(alone.connection.writes).toContainEqual(expect.stringMatching(/POST .*jobs$/));
    expect(alone.connection.writes).toContainEqual(expect.stringMatching(/DELETE .*jobs/));
    let deaths = 0;
    for (let write = 1; write <= writes; write++) {
      const name = `killed-${write}`;
      const operator = await startSucceeded(world, { write, learns: write % 2 === 0 });
      expect(await playStory(name), `death at write ${write}`).toEqual(['build', 'sign', 'build', 'sign']);
      await cleared(name);
      deaths += Number(operator.hasDied);
      await operator.end();
    }
    // How writes are merged depends on the time, so the last deaths may not come.
    expect(deaths).toBeGreaterThan(writes * 0.75);
    expectSignedOnly();
  }, 300_000);

  it('does no work twice beside a rival that knows nothing of it', async () => {
    const [one, other] = [await startMortal(world), await startMortal(world)];
    for (let index = 0; index < 5; index++) {
      expect(await playStory(`rivals-${index}`)).toEqual(['build', 'sign', 'build', 'sign']);
      await cleared(`rivals-${index}`);
    }
    await Promise.all([one.end(), other.end()]);
    expectSignedOnly();
  }, 120_000);

  it('goes on where it was when the registry was away', async () => {
    const operator = await startMortal(world);
    const name = 'away';
    await world.cluster(name, { for: name }, [kernel]);
    await world.apply(name, { ...container, containerImage: '127.0.0.1:1/away:1' });
    await world.eventually(name, ({ status }) => expect(status?.phases).toEqual({ Building: 1 }));
    expect(await world.jobs.jobs(hubNamespace)).toEqual([]);
    expect(await world.works(name)).toEqual([]);
    const player = startPlayer(world, signed);
    await world.apply(name, container);
    await settled(name, { clusters: 1, jobs: 2, player });
    await player.end();
    await operator.end();
    expectSignedOnly();
  });
});
