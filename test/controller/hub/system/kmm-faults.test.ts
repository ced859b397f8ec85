import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { configMaps, type Job } from '../../../../src/controller/observe/cluster/resources.ts';
import { managedClusterModules } from '../../../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { managedClusters } from '../../../../src/controller/hub/fleet/managed-clusters.ts';
import { manifestWorks } from '../../../../src/controller/hub/fleet/manifest-works.ts';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import { endJob } from '../../module/cluster-objects.ts';
import { argumentsOf } from '../../module/module-world.ts';
import { contentOf, hubNamespace, startHubWorld, type HubWorld } from '../hub-world.ts';

const kernel = '6.1.0-13-amd64';
const waiting = { timeout: 30_000, interval: 50 };
const build = { dockerfileConfigMap: { name: 'build' } };
const sign = { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } };

function destinationOf(job: Job): string | undefined {
  return argumentsOf(job).find((argument) => argument.startsWith('--destination='));
}

describeWith([...apiServerPrograms, 'ocm-work'], 'a hub, unlike KMM’s,', () => {
  let world: HubWorld;
  beforeAll(async () => {
    world = await startHubWorld();
    const driverToolkit = new Map([['5.14.0-427.el9.x86_64', 'registry.example/driver-toolkit:9.4']]);
    await world.startControllers({ driverToolkit });
  }, 120_000);
  afterAll(() => world?.[Symbol.asyncDispose]());

  /** Deletes a ManagedClusterModule, and waits until its Jobs are gone. */
  async function remove(name: string): Promise<void> {
    world.later(60_000);
    await world.client.delete(managedClusterModules, { name });
    await vi.waitFor(async () => expect(await world.jobs.jobs(hubNamespace)).toEqual([]), waiting);
  }

  const textOf = async (name: string, cluster: string): Promise<string> =>
    vi.waitFor(async () => {
      const works = await world.works(name);
      return contentOf(works.find(({ metadata }) => metadata.namespace === cluster)).text;
    }, waiting);

  it('gives clusters with different kernels their own mappings, and builds for each, though they share a spec', async () => {
    const name = 'spec';
    const kernels = [kernel, '6.2.0', '6.3.0'];
    for (const [index, release] of kernels.entries()) {
      await world.cluster(`spec-${index}`, { for: name }, [release]);
    }
    await world.apply(name, { build });
    const jobs = await world.activeJobs('build', kernels.length);
    for (const job of jobs) await world.jobs.build(job, job.metadata.name);
    for (const [index, release] of kernels.entries()) {
      const text = await textOf(name, `spec-${index}`);
      expect(text).toContain(`"literal":"${release}"`);
      for (const other of kernels.filter((one) => one !== release)) expect(text).not.toContain(`"${other}"`);
    }
    await remove(name);
  });

  it('expands names for Jobs as for clusters: the Module’s, in the clusters’ namespace', async () => {
    const name = 'names';
    await world.cluster(name, { for: name }, [kernel]);
    const containerImage = world.jobs.image('${MOD_NAMESPACE}/${MOD_NAME}:${KERNEL_FULL_VERSION}');
    await world.apply(name, { build, containerImage });
    const [job] = await world.activeJobs('build', 1);
    expect(argumentsOf(job!)).toContain('--build-arg=MOD_NAME=names');
    expect(argumentsOf(job!)).toContain('--build-arg=MOD_NAMESPACE=drivers');
    expect(destinationOf(job!)).toBe(`--destination=${world.jobs.image(`drivers/names:${kernel}`)}`);
    await world.jobs.build(job!);
    expect(await textOf(name, name)).toContain(`${world.jobs.image('drivers/names')}@sha256:`);
    await remove(name);
  });

  it('accepts Modules without a moduleLoader', async () => {
    const name = 'plugin';
    await world.cluster(name, { for: name });
    const devicePlugin = { container: { image: 'registry.example/plugin:1' } };
    await world.client.create(managedClusterModules, {
      metadata: { name },
      spec: {
        selector: { for: name },
        spokeNamespace: 'drivers',
        moduleSpec: { selector: {}, devicePlugin },
      },
    });
    expect(await textOf(name, name)).toContain('registry.example/plugin:1');
  });

  it('refuses to build one image for several kernels', async () => {
    const name = 'several';
    await world.cluster(name, { for: name }, [kernel, '6.2.0']);
    await world.apply(name, { build, containerImage: world.jobs.image(`${name}:1`) });
    await world.eventually(name, ({ status }) => {
      expect(status?.clusters?.[0]).toMatchObject({ phase: 'Failed', reason: 'SeveralKernels' });
    });
    expect(await world.jobs.jobs(hubNamespace)).toEqual([]);
    await remove(name);
  });

  it('distinguishes kernels with similar names', async () => {
    const name = 'alike';
    const kernels = ['6.1.0-1.a', '6.1.0-1_a', '6.1.0-1-a'];
    await world.cluster(name, { for: name }, kernels);
    await world.apply(name, { build });
    const jobs = await world.activeJobs('build', kernels.length);
    expect(new Set(jobs.map(destinationOf)).size).toBe(kernels.length);
    await remove(name);
  });

  it('builds on nodes of the architecture that the Module is for', async () => {
    const name = 'architecture';
    await world.cluster(name, { for: name }, [kernel]);
    await world.apply(name, { build }, { selector: { 'kubernetes.io/arch': 'arm64', worker: 'true' } });
    const [job] = await world.activeJobs('build', 1);
    expect(job?.spec?.template.spec?.nodeSelector).toEqual({
      'kubernetes.io/arch': 'arm64',
      'kubernetes.io/os': 'linux',
    });
    await remove(name);
  });

  it('never distributes an unsigned image, nor rebuilds because signing fails', async () => {
    const name = 'unsigned';
    await world.cluster(name, { for: name }, [kernel]);
    await world.apply(name, { build, sign });
    const [made] = await world.activeJobs('build', 1);
    await world.jobs.build(made!);
    const [job] = await world.activeJobs('sign', 1);
    await endJob(world.client, job!, 'Failed');
    const [second] = await world.activeJobs('sign', 1);
    expect(second?.metadata.name).not.toBe(job?.metadata.name);
    const builds = (await world.jobs.jobs(hubNamespace)).filter(
      ({ metadata }) => metadata.labels?.['kmm.node.kubernetes.io/job-type'] === 'build',
    );
    // It may have been garbage-collected.
    for (const { metadata } of builds) expect(metadata.uid).toBe(made?.metadata.uid);
    expect(await world.works(name)).toEqual([]);
    const images = (await world.module(name)).status?.images;
    expect(images?.[0]?.digest).toBeUndefined();
    await remove(name);
  });

  it('finds the Driver Toolkit for kernels that no node of the hub runs, and names a missing entry', async () => {
    const name = 'toolkit';
    const recipe = { namespace: hubNamespace, name };
    const dockerfile = 'ARG DTK_AUTO\nFROM ${DTK_AUTO}\n';
    await world.client.create(configMaps, { metadata: recipe, data: { dockerfile } });
    await world.cluster('toolkit-known', { for: name }, ['5.14.0-427.el9.x86_64']);
    await world.cluster('toolkit-unknown', { for: name }, ['5.14.0-1.el9.x86_64']);
    await world.apply(name, { build: { dockerfileConfigMap: { name } } });
    const [job] = await world.activeJobs('build', 1);
    expect(argumentsOf(job!)).toContain('--build-arg=DTK_AUTO=registry.example/driver-toolkit:9.4');
    await world.eventually(name, ({ status }) => {
      expect(status?.clusters).toMatchObject([
        { name: 'toolkit-unknown', phase: 'Failed', reason: 'DriverToolkitMissing' },
        { name: 'toolkit-known', phase: 'Building' },
      ]);
      expect(status?.clusters?.[0]?.message).toContain('5.14.0-1.el9.x86_64');
    });
    await remove(name);
  });

  it('deletes the ManifestWork of each cluster that leaves, even if one is blocked by a finalizer', async () => {
    const name = 'kept';
    for (const cluster of ['kept-1', 'kept-2', 'kept-3']) {
      await world.cluster(cluster, { for: name }, [kernel]);
    }
    await world.jobs.push(world.jobs.image(`${name}:${kernel}`));
    await world.apply(name, {});
    await vi.waitFor(async () => expect(await world.works(name)).toHaveLength(3), waiting);
    // As Open Cluster Management does until the agent has cleaned up.
    const finalizers = ['cluster.open-cluster-management.io/manifest-work-cleanup'];
    const key = { namespace: 'kept-1', name };
    await world.client.patch(manifestWorks, key, { metadata: { finalizers } });
    await world.client.delete(managedClusters, { name: 'kept-1' });
    await vi.waitFor(async () => {
      const { metadata } = await world.client.get(manifestWorks, key);
      expect(metadata.deletionTimestamp).toBeDefined();
    }, waiting);
    await world.client.delete(managedClusters, { name: 'kept-2' });
    await vi.waitFor(async () => {
      const left = await world.works(name);
      const ends = left.map(({ metadata }) => metadata.deletionTimestamp !== undefined);
      expect(left.map(({ metadata }) => metadata.namespace)).toEqual(['kept-1', 'kept-3']);
      expect(ends).toEqual([true, false]);
    }, waiting);
    await world.eventually(name, ({ status }) => expect(status).toMatchObject({ numberDesired: 1 }));
    await world.client.patch(manifestWorks, key, { metadata: { finalizers: null } });
    await remove(name);
  });

  it('supports the longest name that an object may have', async () => {
    const name = `${'l'.repeat(60)}.`.repeat(4) + 'm'.repeat(9);
    expect(name).toHaveLength(253);
    const label = 'long-name';
    await world.cluster('long-name', { [label]: 'true' }, [kernel]);
    await world.apply(name, { build, containerImage: world.jobs.image('long:${KERNEL_FULL_VERSION}') });
    const patch = { spec: { selector: { [label]: 'true', for: null } } };
    await world.client.patch(managedClusterModules, { name }, patch);
    await world.jobs.build((await world.activeJobs('build', 1))[0]!);
    expect(await textOf(name, 'long-name')).toContain(`"name":"${name}"`);
    await remove(name);
  });

  it('follows changes of selector and spokeNamespace', async () => {
    const name = 'edited';
    await world.cluster('edited-1', { for: name }, [kernel]);
    await world.cluster('edited-2', { for: 'others' }, [kernel]);
    await world.jobs.push(world.jobs.image(`${name}:${kernel}`));
    await world.apply(name, {});
    expect(await textOf(name, 'edited-1')).toContain('"namespace":"drivers"');
    const spec = { spokeNamespace: 'elsewhere', selector: { for: 'others' } };
    await world.client.patch(managedClusterModules, { name }, { spec });
    expect(await textOf(name, 'edited-2')).toContain('"namespace":"elsewhere"');
    await vi.waitFor(async () => expect(await world.works(name)).toHaveLength(1), waiting);
    await remove(name);
  });
});
