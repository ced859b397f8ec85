import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { configMaps, type CustomResource } from '../../../src/controller/observe/cluster/resources.ts';
import { managedClusterModules } from '../../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { managedClusters } from '../../../src/controller/hub/fleet/managed-clusters.ts';
import { manifestWorks } from '../../../src/controller/hub/fleet/manifest-works.ts';
import { createRuntimeMetrics } from '../../../src/controller/runtime/metrics.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { namespaces } from '../../support/namespaces.ts';
import { describeWith } from '../../support/programs.ts';
import { endJob, reasonsOf } from '../module/cluster-objects.ts';
import { argumentsOf } from '../module/module-world.ts';
import { countingClient, reconciles } from '../runtime/counting-client.ts';
import { contentOf, hubNamespace, startHubWorld, type HubWorld } from './hub-world.ts';

const kernel = '6.1.0-13-amd64';
const waiting = { timeout: 30_000, interval: 50 };
const build = { dockerfileConfigMap: { name: 'build' } };
const sign = { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } };

function clustersOf(works: readonly CustomResource[]): string[] {
  return works.map(({ metadata }) => metadata.namespace ?? '').toSorted();
}

/** Writes of the ManagedClusterModule `still` and its ManifestWorks. */
function ofStill(writes: readonly string[]): string[] {
  return writes.filter((write) => /\/still(\/status)?$/.test(write));
}

describeWith([...apiServerPrograms, 'ocm-work'], 'the hub controllers', () => {
  let world: HubWorld;
  const registry = new Registry();
  let writes: readonly string[];
  beforeAll(async () => {
    world = await startHubWorld();
    const counting = await countingClient(world.jobs.api.kubeconfig);
    ({ writes } = counting);
    await world.startControllers({ client: counting.client, metrics: createRuntimeMetrics(registry) });
  }, 120_000);
  afterAll(() => world?.[Symbol.asyncDispose]());

  const noJobs = () =>
    vi.waitFor(async () => expect(await world.jobs.jobs(hubNamespace)).toEqual([]), waiting);

  it('build and sign once for all clusters, in their own namespace, and give each the digest', async () => {
    const name = 'once';
    for (const cluster of ['once-1', 'once-2', 'once-3'])
      await world.cluster(cluster, { for: name }, [kernel]);
    await world.apply(name, { build, sign });
    const [buildJob] = await world.activeJobs('build', 1);
    await world.eventually(name, ({ status }) => {
      expect(status?.phases).toEqual({ Building: 3 });
      expect(status?.clusters?.[0]).toMatchObject({ name: 'once-1', reason: 'BuildRunning' });
    });
    expect(await world.works(name)).toEqual([]);
    expect(argumentsOf(buildJob!)).toContain('--build-arg=MOD_NAMESPACE=drivers');
    await world.jobs.build(buildJob!);
    const [signJob] = await world.activeJobs('sign', 1);
    expect(await world.works(name)).toEqual([]);
    await world.jobs.sign(signJob!);
    const { status } = await world.eventually(name, (module) => {
      expect(module.status).toMatchObject({ numberDesired: 3, numberApplied: 0, phases: { Applying: 3 } });
    });
    const [image] = status?.images ?? [];
    expect(image).toMatchObject({ phase: 'Ready', reason: 'Signed', kernelVersion: kernel });
    const works = await world.works(name);
    expect(clustersOf(works)).toEqual(['once-1', 'once-2', 'once-3']);
    for (const work of works) {
      const { images, text } = contentOf(work);
      expect(images).toEqual([`${world.jobs.image(name)}@${image?.digest}`]);
      expect(text).not.toContain('keySecret');
      expect(text).not.toContain('dockerfileConfigMap');
    }
    await noJobs();
    await world.events(name, (events) => {
      const reasons = reasonsOf(events);
      for (const reason of ['BuildCreated', 'BuildSucceeded', 'SignCreated', 'SignSucceeded', 'ImageReady']) {
        expect(reasons.filter((one) => one === reason)).toHaveLength(1);
      }
    });
  });

  it('share Jobs between ManagedClusterModules with the same image', async () => {
    const names = ['shared-a', 'shared-b'];
    const containerImage = world.jobs.image('shared:${KERNEL_FULL_VERSION}');
    for (const name of names) {
      await world.cluster(name, { for: name }, [kernel]);
      await world.apply(name, { build, sign, containerImage });
    }
    await world.jobs.build((await world.activeJobs('build', 1))[0]!);
    await world.jobs.sign((await world.activeJobs('sign', 1))[0]!);
    const found = [];
    for (const name of names) {
      await world.eventually(name, ({ status }) => expect(status?.phases).toEqual({ Applying: 1 }));
      found.push(...contentOf((await world.works(name))[0]).images);
    }
    expect(new Set(found).size).toBe(1);
    await noJobs();
  });

  it('do not let two ManagedClusterModules overwrite each other’s image', async () => {
    const containerImage = world.jobs.image('fought:${KERNEL_FULL_VERSION}');
    await world.cluster('fight-a', { for: 'fight-a' }, [kernel]);
    await world.cluster('fight-b', { for: 'fight-b' }, [kernel]);
    await world.apply('fight-a', { build, containerImage });
    await world.activeJobs('build', 1);
    await world.apply('fight-b', {
      build: { ...build, buildArgs: [{ name: 'A', value: 'B' }] },
      containerImage,
    });
    await world.eventually('fight-b', ({ status }) => {
      expect(status?.clusters?.[0]).toMatchObject({ phase: 'Failed', reason: 'ConflictingMappings' });
    });
    await world.jobs.build((await world.activeJobs('build', 1))[0]!);
    await world.eventually('fight-a', ({ status }) => expect(status?.phases).toEqual({ Applying: 1 }));
    await world.client.delete(managedClusterModules, { name: 'fight-b' });
    await noJobs();
  });

  it('report each cluster’s failure without affecting others', async () => {
    const name = 'alone';
    await world.cluster('alone-good', { for: name }, [kernel]);
    await world.cluster('alone-bad', { for: name }, [kernel, '6.2.0']);
    await world.cluster('alone-silent', { for: name });
    await world.cluster('alone-other', { for: name }, ['5.10.0']);
    // Registered by hand, without its namespace.
    await world.client.create(managedClusters, {
      metadata: { name: 'alone-homeless', labels: { for: name } },
      spec: { hubAcceptsClient: true, leaseDurationSeconds: 60 },
    });
    await world.publish('alone-homeless', [kernel]);
    await world.jobs.push(world.jobs.image(`${name}:${kernel}`));
    await world.apply(name, { kernelMappings: [{ regexp: '^6' }] });
    await world.eventually(name, ({ status }) => {
      expect(status?.clusters).toMatchObject([
        { name: 'alone-bad', phase: 'Failed', reason: 'ImageNotFound', kernels: 2 },
        { name: 'alone-homeless', phase: 'Failed', reason: 'ClusterNamespaceMissing' },
        { name: 'alone-other', phase: 'Pending', reason: 'NoKernelMatches' },
        { name: 'alone-silent', phase: 'Pending', reason: 'NoKernels' },
        { name: 'alone-good', phase: 'Applying' },
      ]);
    });
    await world.client.create(namespaces, { metadata: { name: 'alone-homeless' } });
    await vi.waitFor(async () => {
      expect(clustersOf(await world.works(name))).toEqual(['alone-good', 'alone-homeless']);
    }, waiting);
  });

  it('delete the ManifestWorks of clusters that leave, and update them when kernels change', async () => {
    const name = 'moving';
    await world.cluster('moving-1', { for: name }, [kernel]);
    await world.cluster('moving-2', { for: name }, [kernel]);
    const first = await world.jobs.push(world.jobs.image(`${name}:${kernel}`));
    const second = await world.jobs.push(world.jobs.image(`${name}:6.2.0`), '2');
    await world.apply(name, {});
    const imagesOf = async (cluster: string) =>
      contentOf((await world.works(name)).find(({ metadata }) => metadata.namespace === cluster)).images;
    await vi.waitFor(async () => expect(await world.works(name)).toHaveLength(2), waiting);
    await world.publish('moving-1', [kernel, '6.2.0']);
    const pinned = (digest: string) => `${world.jobs.image(name)}@${digest}`;
    await vi.waitFor(async () => {
      expect(await imagesOf('moving-1')).toEqual([pinned(first), pinned(second)]);
    }, waiting);
    expect(await imagesOf('moving-2')).toEqual([pinned(first)]);
    await world.publish('moving-1', ['6.2.0']);
    await vi.waitFor(async () => expect(await imagesOf('moving-1')).toEqual([pinned(second)]), waiting);
    await world.client.patch(managedClusters, { name: 'moving-2' }, { metadata: { labels: { for: null } } });
    await vi.waitFor(async () => {
      expect(clustersOf(await world.works(name))).toEqual(['moving-1']);
    }, waiting);
    await world.client.delete(manifestWorks, { namespace: 'moving-1', name });
    await vi.waitFor(async () => expect(await imagesOf('moving-1')).toEqual([pinned(second)]), waiting);
    const [work] = await world.works(name);
    const { metadata } = await world.module(name);
    expect(work?.metadata.ownerReferences).toMatchObject([{ uid: metadata.uid, controller: true }]);
  });

  it('stop the Jobs of outdated recipes, and after a while those of kernels and modules that are gone', async () => {
    const name = 'vanishing';
    await world.cluster(name, { for: name }, [kernel]);
    await world.apply(name, { build });
    const [first] = await world.activeJobs('build', 1);
    await world.apply(name, { build: { ...build, buildArgs: [{ name: 'A', value: 'B' }] } });
    await vi.waitFor(async () => {
      const [job] = await world.activeJobs('build', 1);
      expect(job?.metadata.name).not.toBe(first?.metadata.name);
    }, waiting);
    await world.publish(name, ['6.2.0']);
    await world.activeJobs('build', 2);
    world.later(60_000);
    await world.publish(name, ['6.2.0', '5.10.0']);
    await vi.waitFor(async () => {
      const active = await world.activeJobs('build', 2);
      const kernels = active.map(({ metadata }) => metadata.labels?.['kmm.node.kubernetes.io/target-kernel']);
      expect(new Set(kernels)).toEqual(new Set(['5.10.0', '6.2.0']));
    }, waiting);
    await world.client.delete(managedClusterModules, { name });
    await noJobs();
  });

  it('rebuild when the Dockerfile changes, and leave clusters as they are until then', async () => {
    const name = 'changing';
    const recipe = { namespace: hubNamespace, name: 'changing' };
    await world.client.create(configMaps, { metadata: recipe, data: { dockerfile: 'FROM scratch\n' } });
    await world.cluster(name, { for: name }, [kernel]);
    await world.apply(name, { build: { dockerfileConfigMap: { name } } });
    await world.jobs.build((await world.activeJobs('build', 1))[0]!);
    await world.eventually(name, ({ status }) => expect(status?.phases).toEqual({ Applying: 1 }));
    await noJobs();
    const before = contentOf((await world.works(name))[0]).images;
    await world.client.patch(configMaps, recipe, { data: { dockerfile: 'FROM scratch\nLABEL a=b\n' } });
    const [job] = await world.activeJobs('build', 1);
    await world.eventually(name, ({ status }) => expect(status?.phases).toEqual({ Building: 1 }));
    expect(contentOf((await world.works(name))[0]).images).toEqual(before);
    await world.jobs.build(job!, '2');
    await vi.waitFor(async () => {
      expect(contentOf((await world.works(name))[0]).images).not.toEqual(before);
    }, waiting);
    await noJobs();
  });

  it('retry a failed Job, stop after the last attempt, and start again on request', async () => {
    const name = 'failing';
    await world.cluster(name, { for: name }, [kernel]);
    await world.apply(name, { build });
    await endJob(world.client, (await world.activeJobs('build', 1))[0]!, 'Failed');
    await endJob(world.client, (await world.activeJobs('build', 1))[0]!, 'Failed');
    await world.eventually(name, ({ status }) => {
      expect(status?.clusters?.[0]).toMatchObject({ phase: 'Failed', reason: 'BuildFailed' });
      expect(status?.images?.[0]).toMatchObject({ phase: 'Failed', attempts: 2 });
    });
    const annotations = { 'kmm.sigs.x-k8s.io/retry': '1' };
    await world.client.patch(managedClusterModules, { name }, { metadata: { annotations } });
    await world.jobs.build((await world.activeJobs('build', 1))[0]!);
    await world.eventually(name, ({ status }) => expect(status?.phases).toEqual({ Applying: 1 }));
    await noJobs();
  });

  it('never build because the registry fails, and leave ManifestWorks as they are', async () => {
    const name = 'trouble';
    await world.cluster(name, { for: name }, [kernel]);
    await world.jobs.push(world.jobs.image(`${name}:${kernel}`));
    await world.apply(name, { build });
    await vi.waitFor(async () => expect(await world.works(name)).toHaveLength(1), waiting);
    await world.apply(name, { build, containerImage: '127.0.0.1:1/trouble:${KERNEL_FULL_VERSION}' });
    await world.eventually(name, ({ status }) => {
      expect(status?.clusters?.[0]).toMatchObject({ phase: 'Building', applied: false });
    });
    expect(await world.jobs.jobs(hubNamespace)).toEqual([]);
    expect(contentOf((await world.works(name))[0]).text).not.toContain('127.0.0.1:1/');
    await world.client.delete(managedClusterModules, { name });
  });

  it('write nothing when nothing has changed', async () => {
    const name = 'still';
    await world.cluster(name, { for: name }, [kernel]);
    await world.jobs.push(world.jobs.image(`${name}:${kernel}`));
    await world.apply(name, {});
    await world.eventually(name, ({ status }) => expect(status?.phases).toEqual({ Applying: 1 }));
    const before = ofStill(writes);
    expect(before).toHaveLength(new Set(before).size + 1);
    for (const value of ['1', '2', '3']) {
      const earlier = await reconciles(registry, 'managed-cluster-module');
      await world.client.patch(managedClusters, { name }, { metadata: { labels: { other: value } } });
      await vi.waitFor(async () => {
        expect(await reconciles(registry, 'managed-cluster-module')).toBeGreaterThan(earlier);
      }, waiting);
    }
    expect(ofStill(writes)).toEqual(before);
  });

  it('reject what the webhook would, with a condition and an event, written once', async () => {
    // With a version, names are part of label keys.
    const name = 'against-the-rules-since-its-name-is-too-long';
    await world.cluster(name, { for: name }, [kernel]);
    await world.apply(name, { build, version: 'v1' });
    await world.eventually(name, ({ status }) => {
      expect(status?.conditions).toContainEqual(
        expect.objectContaining({ type: 'Degraded', status: 'True', reason: 'InvalidModule' }),
      );
    });
    const note = expect.stringContaining('spec.moduleSpec.moduleLoader.container.version') as string;
    await world.events(name, (events) => {
      expect(events).toMatchObject([{ type: 'Warning', reason: 'InvalidModule', note }]);
    });
    const earlier = await reconciles(registry, 'managed-cluster-module');
    const annotations = { 'example.com/note': '1' };
    await world.client.patch(managedClusterModules, { name }, { metadata: { annotations } });
    await vi.waitFor(async () => {
      expect(await reconciles(registry, 'managed-cluster-module')).toBeGreaterThan(earlier);
    }, waiting);
    expect(writes.filter((write) => write.endsWith(`/${name}/status`))).toHaveLength(1);
    expect([await world.works(name), await world.jobs.jobs(hubNamespace)]).toEqual([[], []]);
  });
});
