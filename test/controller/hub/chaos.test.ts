import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { configMaps, type Job } from '../../../src/controller/cluster/resources.ts';
import {
  managedClusterModules,
  managedClusters,
  manifestWorks,
} from '../../../src/controller/hub/resources.ts';
import { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { createConnection } from '../../../src/controller/runtime/api/connection.ts';
import { loadConfig } from '../../../src/controller/runtime/api/load-config.ts';
import { Informer } from '../../../src/controller/runtime/cache/informer.ts';
import type { CustomResource } from '../../../src/controller/cluster/resources.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { mortalConnection, type Death, type MortalConnection } from '../chaos/mortal-connection.ts';
import { contentOf, hubNamespace, startHubWorld, type HubWorld } from './hub-world.ts';

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

  /** An operator that may die; gives its connection and the function that ends it. */
  async function startMortal(death?: Death): Promise<{ connection: MortalConnection; end(): Promise<void> }> {
    const connection = mortalConnection({
      connection: createConnection(await loadConfig(world.jobs.api.kubeconfig)),
      namespace: hubNamespace,
      death,
    });
    const client = new ApiClient({ connection, fieldManager: 'kmm-operator', userAgent: 'kmm-sign-tests' });
    const ended = await world.startControllers({ client });
    return {
      connection,
      async end() {
        connection.die();
        await ended();
      },
    };
  }

  /** Does what Jobs do, each once; gives what was done, in order, and no name twice. */
  function startPlayer(): { readonly work: string[]; end(): Promise<void> } {
    const over = new AbortController();
    const seen = new Set<string>();
    const work: string[] = [];
    const play = async (job: Job): Promise<void> => {
      const kind = job.metadata.labels?.['kmm.node.kubernetes.io/job-type'] ?? '';
      work.push(kind);
      if (kind === 'sign') signed.add(await world.jobs.sign(job));
      else await world.jobs.build(job, job.metadata.name);
    };
    const playing = (async () => {
      while (!over.signal.aborted) {
        for (const job of await world.jobs.jobs(hubNamespace)) {
          if (seen.has(job.metadata.uid ?? '')) continue;
          seen.add(job.metadata.uid ?? '');
          await play(job);
        }
        await sleep(20);
      }
    })();
    return {
      work,
      async end() {
        over.abort();
        await playing;
      },
    };
  }

  async function imagesOf(name: string): Promise<(string | undefined)[]> {
    return (await world.works(name)).flatMap((work) => contentOf(work).images);
  }

  /** A rollout, a new recipe, a cluster that leaves. Gives the work that was done. */
  async function playStory(name: string): Promise<string[]> {
    const player = startPlayer();
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
    {
      clusters,
      jobs,
      player,
    }: { clusters: number; jobs: number; player: { readonly work: readonly string[] } },
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
    const alone = await startMortal();
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
      const first = await startMortal({ write, learns: write % 2 === 0 });
      let second: typeof first | undefined;
      const succeeding = first.connection.died.then(async () => {
        deaths += Number(second === undefined);
        second = await startMortal();
        return second;
      });
      expect(await playStory(name), `death at write ${write}`).toEqual(['build', 'sign', 'build', 'sign']);
      await cleared(name);
      await first.end();
      await succeeding;
      await second?.end();
    }
    // How writes are merged depends on the time, so the last deaths may not come.
    expect(deaths).toBeGreaterThan(writes * 0.75);
    expectSignedOnly();
  }, 300_000);

  it('does no work twice beside a rival that knows nothing of it', async () => {
    const [one, other] = [await startMortal(), await startMortal()];
    for (let index = 0; index < 5; index++) {
      expect(await playStory(`rivals-${index}`)).toEqual(['build', 'sign', 'build', 'sign']);
      await cleared(`rivals-${index}`);
    }
    await Promise.all([one.end(), other.end()]);
    expectSignedOnly();
  }, 120_000);

  it('goes on where it was when the registry was away', async () => {
    const operator = await startMortal();
    const name = 'away';
    await world.cluster(name, { for: name }, [kernel]);
    await world.apply(name, { ...container, containerImage: '127.0.0.1:1/away:1' });
    await world.eventually(name, ({ status }) => expect(status?.phases).toEqual({ Building: 1 }));
    expect(await world.jobs.jobs(hubNamespace)).toEqual([]);
    expect(await world.works(name)).toEqual([]);
    const player = startPlayer();
    await world.apply(name, container);
    await settled(name, { clusters: 1, jobs: 2, player });
    await player.end();
    await operator.end();
    expectSignedOnly();
  });
});
