import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { configMaps } from '../../../../src/controller/observe/cluster/resources.ts';
import { managedClusterModules } from '../../../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { managedClusters } from '../../../../src/controller/hub/fleet/managed-clusters.ts';
import { manifestWorks } from '../../../../src/controller/hub/fleet/manifest-works.ts';
import { Informer } from '../../../../src/controller/runtime/cache/informer.ts';
import type { CustomResource } from '../../../../src/controller/observe/cluster/resources.ts';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import { startKillableHub, startJobRunner, startHubWithSuccessor, type JobRunner } from './killable-hub.ts';
import { contentOf, hubNamespace, startHubWorld, type HubWorld } from '../hub-world.ts';

const kernel = '6.1.0-13-amd64';
const waiting = { timeout: 60_000, interval: 30 };
const container = {
  build: { dockerfileConfigMap: { name: 'build' } },
  sign: { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } },
};

describeWith(
  [...apiServerPrograms, 'ocm-work'],
  'a hub’s operator that is killed or has a competitor',
  () => {
    let world: HubWorld;
    /** Digests that sign Jobs produced, and images that ManifestWorks named for kernels at any time. */
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

    /** Runs a rollout, a new recipe, and a cluster that leaves. Returns the work that was done. */
    async function runScenario(name: string): Promise<readonly string[]> {
      const runner = startJobRunner(world, signed);
      const recipe = { namespace: hubNamespace, name };
      await world.client.create(configMaps, { metadata: recipe, data: { dockerfile: 'FROM scratch\n' } });
      for (const cluster of [`${name}-a`, `${name}-b`]) await world.cluster(cluster, { for: name }, [kernel]);
      await world.apply(name, { ...container, build: { dockerfileConfigMap: { name } } });
      await settled(name, { clusters: 2, jobs: 2, runner });
      const before = await imagesOf(name);
      await world.client.patch(configMaps, recipe, { data: { dockerfile: 'FROM scratch\nLABEL a=b\n' } });
      await settled(name, { clusters: 2, jobs: 4, runner });
      expect(await imagesOf(name)).not.toEqual(before);
      await world.client.patch(
        managedClusters,
        { name: `${name}-b` },
        { metadata: { labels: { for: null } } },
      );
      await settled(name, { clusters: 1, jobs: 4, runner });
      await runner.end();
      return runner.work;
    }

    async function settled(
      name: string,
      { clusters, jobs, runner }: { clusters: number; jobs: number; runner: JobRunner },
    ): Promise<void> {
      await vi.waitFor(async () => {
        expect(runner.work.length).toBeGreaterThanOrEqual(jobs);
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

    it('does all work once, at whichever write it is killed', async () => {
      const alone = await startKillableHub(world);
      expect(await runScenario('undisturbed')).toEqual(['build', 'sign', 'build', 'sign']);
      await cleared('undisturbed');
      await alone.end();
      const writes = alone.connection.writes.length;
      expect(alone.connection.writes).toContainEqual(expect.stringMatching(/PATCH .*manifestworks/));
      expect(alone.connection.writes).toContainEqual(expect.stringMatching(/POST .*jobs$/));
      expect(alone.connection.writes).toContainEqual(expect.stringMatching(/DELETE .*jobs/));
      let kills = 0;
      for (let write = 1; write <= writes; write++) {
        const name = `killed-${write}`;
        const operator = await startHubWithSuccessor(world, { write, receivesResponse: write % 2 === 0 });
        expect(await runScenario(name), `killed at write ${write}`).toEqual([
          'build',
          'sign',
          'build',
          'sign',
        ]);
        await cleared(name);
        kills += Number(operator.wasKilled);
        await operator.end();
      }
      // How writes are merged depends on the time, so the last writes may not happen.
      expect(kills).toBeGreaterThan(writes * 0.75);
      expectSignedOnly();
    }, 300_000);

    it('does no work twice if a competitor runs without leader election', async () => {
      const [one, other] = [await startKillableHub(world), await startKillableHub(world)];
      for (let index = 0; index < 5; index++) {
        expect(await runScenario(`competitors-${index}`)).toEqual(['build', 'sign', 'build', 'sign']);
        await cleared(`competitors-${index}`);
      }
      await Promise.all([one.end(), other.end()]);
      expectSignedOnly();
    }, 120_000);

    it('continues where it was after an outage of the registry', async () => {
      const operator = await startKillableHub(world);
      const name = 'away';
      await world.cluster(name, { for: name }, [kernel]);
      await world.apply(name, { ...container, containerImage: '127.0.0.1:1/away:1' });
      await world.eventually(name, ({ status }) => expect(status?.phases).toEqual({ Building: 1 }));
      expect(await world.jobs.jobs(hubNamespace)).toEqual([]);
      expect(await world.works(name)).toEqual([]);
      const runner = startJobRunner(world, signed);
      await world.apply(name, container);
      await settled(name, { clusters: 1, jobs: 2, runner });
      await runner.end();
      await operator.end();
      expectSignedOnly();
    });
  },
);
