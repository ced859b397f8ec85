import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { configMaps, type CustomResource } from '../../../../src/controller/observe/cluster/resources.ts';
import { managedClusters } from '../../../../src/controller/hub/fleet/managed-clusters.ts';
import { manifestWorks } from '../../../../src/controller/hub/fleet/manifest-works.ts';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { startFaultProxy } from '../../../support/fault-proxy.ts';
import { describeWith } from '../../../support/programs.ts';
import { endJob } from '../../module/cluster-objects.ts';
import { builtImageOf } from '../../module/module-world.ts';
import { contentOf, hubNamespace, startHubWorld, type HubWorld } from '../hub-world.ts';

const kernel = '6.1.0-13-amd64';
const waiting = { timeout: 30_000, interval: 50 };
const sign = { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } };
const hour = 3_600_000;

describeWith([...apiServerPrograms, 'ocm-work'], 'a hub whose', () => {
  let world: HubWorld;
  let stop: () => Promise<void>;
  beforeAll(async () => {
    world = await startHubWorld();
    stop = await world.startControllers();
  }, 120_000);
  afterAll(() => world?.[Symbol.asyncDispose]());

  const jobsOf = async (): Promise<string[]> =>
    (await world.jobs.jobs(hubNamespace)).map(({ metadata }) => metadata.name);

  const noJobs = () => vi.waitFor(async () => expect(await jobsOf()).toEqual([]), waiting);

  const workOf = async (name: string, cluster: string): Promise<CustomResource> =>
    vi.waitFor(async () => {
      const found = (await world.works(name)).find(({ metadata }) => metadata.namespace === cluster);
      if (found === undefined) throw new Error(`${cluster} has no ManifestWork`);
      return found;
    }, waiting);

  /** Reports about a cluster as OCM's registration does: whether its agent renews its lease. */
  async function setAvailable(name: string, value: 'True' | 'Unknown'): Promise<void> {
    const { status } = await world.client.get(managedClusters, { name });
    const condition = {
      type: 'ManagedClusterConditionAvailable',
      status: value,
      reason: value === 'True' ? 'ManagedClusterAvailable' : 'ManagedClusterLeaseUpdateStopped',
      message: '',
      lastTransitionTime: new Date().toISOString(),
    };
    const next = { status: { ...Object(status), conditions: [condition] } };
    await world.client.patch(managedClusters, { name }, next, { subresource: 'status' });
  }

  /** Reports the current ManifestWork as applied, as a work agent does. */
  async function applyWork(name: string, cluster: string): Promise<void> {
    const { metadata } = await workOf(name, cluster);
    const condition = {
      type: 'Applied',
      status: 'True',
      reason: 'AppliedManifestWorkComplete',
      message: '',
      lastTransitionTime: new Date().toISOString(),
      observedGeneration: metadata.generation,
    };
    const status = { conditions: [condition], resourceStatus: { manifests: [] } };
    await world.client.patch(manifestWorks, metadata, { status }, { subresource: 'status' });
  }

  it('cluster is disconnected for an hour does all work once, and the cluster catches up when it reconnects', async () => {
    const name = 'away';
    const recipe = { namespace: hubNamespace, name };
    await world.client.create(configMaps, { metadata: recipe, data: { dockerfile: 'FROM scratch\n' } });
    for (const cluster of ['away-here', 'away-gone']) await world.cluster(cluster, { for: name }, [kernel]);
    await world.apply(name, { build: { dockerfileConfigMap: { name } }, sign });
    await world.jobs.build((await world.activeJobs('build', 1))[0]!, '1');
    await world.jobs.sign((await world.activeJobs('sign', 1))[0]!);
    for (const cluster of ['away-here', 'away-gone']) await applyWork(name, cluster);
    await world.eventually(name, ({ status }) => expect(status?.phases).toEqual({ Applied: 2 }));
    await noJobs();

    await setAvailable('away-gone', 'Unknown');
    await world.client.patch(configMaps, recipe, { data: { dockerfile: 'FROM scratch\nLABEL a=b\n' } });
    await world.jobs.build((await world.activeJobs('build', 1))[0]!, '2');
    await world.jobs.sign((await world.activeJobs('sign', 1))[0]!);
    await world.eventually(name, ({ status }) => expect(status?.phases).toEqual({ Applying: 2 }));
    await applyWork(name, 'away-here');
    await world.eventually(name, ({ status }) => {
      expect(status?.clusters).toMatchObject([
        { name: 'away-gone', phase: 'Applying', reason: 'ClusterAway', applied: false },
        { name: 'away-here', phase: 'Applied' },
      ]);
    });
    await noJobs();
    const before = await workOf(name, 'away-gone');
    expect(contentOf(before).images).toEqual(contentOf(await workOf(name, 'away-here')).images);

    // The hub keeps its state over the hour, in memory and over a restart.
    for (const restarts of [false, true]) {
      world.later(hour);
      if (restarts) {
        await stop();
        stop = await world.startControllers();
      }
      const probe = `away-probe-${restarts}`;
      await world.cluster(probe, { for: name }, [kernel]);
      await workOf(name, probe);
      expect(await jobsOf()).toEqual([]);
      expect((await workOf(name, 'away-gone')).metadata.generation).toBe(before.metadata.generation);
    }

    await setAvailable('away-gone', 'True');
    await applyWork(name, 'away-gone');
    await world.eventually(name, ({ status }) => {
      const one = status?.clusters?.find((cluster) => cluster.name === 'away-gone');
      expect(one).toMatchObject({ phase: 'Applied', applied: true });
    });
    expect(await jobsOf()).toEqual([]);
  }, 60_000);

  it('registry fails between build and signature continues afterwards without a rebuild', async () => {
    const name = 'registry';
    await using proxy = await startFaultProxy({ target: world.jobs.registry.url });
    await world.cluster(name, { for: name }, [kernel]);
    await world.apply(name, {
      build: { dockerfileConfigMap: { name: 'build' } },
      sign,
      containerImage: `${proxy.host}/registry:\${KERNEL_FULL_VERSION}`,
    });
    const [build] = await world.activeJobs('build', 1);
    const isRequested = (): boolean => proxy.requests.some(({ fault }) => fault !== undefined);
    await world.jobs.push(builtImageOf(build!));
    proxy.reset(() => ({ kind: 'reset-at-once' }));
    await endJob(world.client, build!, 'Complete');
    await vi.waitFor(() => expect(isRequested()).toBe(true), waiting);
    await world.eventually(name, ({ status }) => {
      expect(status?.images?.[0]).toMatchObject({ phase: 'Checking' });
      expect(status?.phases).toEqual({ Building: 1 });
    });
    expect(await jobsOf()).toEqual([build?.metadata.name]);
    expect(await world.works(name)).toEqual([]);
    proxy.reset();
    const [signing] = await world.activeJobs('sign', 1);
    await world.jobs.sign(signing!);
    const { images } = contentOf(await workOf(name, name));
    expect(images).toEqual([expect.stringMatching(/@sha256:/)]);
    await noJobs();
    // During another outage nothing is deleted or rebuilt.
    proxy.reset(() => ({ kind: 'status', status: 500 }));
    await stop();
    stop = await world.startControllers();
    await vi.waitFor(() => expect(isRequested()).toBe(true), waiting);
    expect(contentOf(await workOf(name, name)).images).toEqual(images);
    expect(await jobsOf()).toEqual([]);
  }, 60_000);
});
