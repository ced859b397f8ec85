import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { maxListedImages, type ManagedClusterModule } from '../../../../src/api/managed-cluster-module.ts';
import { limitImages } from '../../../../src/controller/hub/images/desired-images.ts';
import { createModuleView } from '../../../../src/controller/hub/clusters/module-view.ts';
import { managedClusterModules } from '../../../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { managedClusterModuleStatusOf } from '../../../../src/controller/hub/clusters/module-status.ts';
import { createTargetResolver } from '../../../../src/controller/hub/images/desired-images.ts';
import { apiServerPrograms } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import { digest, resource } from '../example-module.ts';
import { startHubWorld, type HubWorld } from '../hub-world.ts';

const perKernel = resource({
  kernelMappings: [{ regexp: '.', containerImage: 'registry.example/driver:${KERNEL_FULL_VERSION}' }],
});

function releases(count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, index) => `6.1.${from + index}`);
}

function imageOf(release: string): string {
  return `registry.example/driver:${release}`;
}

describe('the images of a ManagedClusterModule', () => {
  const view = createModuleView(perKernel, '2026-01-01T00:00:00Z');

  it('are all seen to where the status can list them', () => {
    const wants = view.wantsFor(releases(maxListedImages));
    const limited = limitImages(wants, { known: new Set(), clustersWith: () => 1 });
    expect(limited.wants).toEqual(wants);
    expect(limited.refused.size).toBe(0);
  });

  it('beyond that are refused: last of all those that are listed already, then those that many clusters need', () => {
    const [listed, common, rare] = [
      releases(maxListedImages - 1),
      releases(1, 5000),
      releases(maxListedImages, 7000),
    ];
    const { wants, refused } = limitImages(view.wantsFor([...rare, ...common, ...listed]), {
      known: new Set(listed.map(imageOf)),
      clustersWith: (release) => (release === common[0] ? 2 : 1),
    });
    expect(new Set(wants.map(({ target }) => target.kernel.release))).toEqual(
      new Set([...listed, ...common]),
    );
    expect(Array.from(refused.keys(), ({ kernel }) => kernel.release)).toEqual(rare);
    expect([...refused.values()][0]).toMatchObject({
      code: 'TOO_MANY_IMAGES',
      message: `The clusters of driver need ${2 * maxListedImages} images, and the hub sees to ${maxListedImages} for one ManagedClusterModule`,
    });
  });

  it('have names that fit into the status', () => {
    const containerImage = `registry.example/${'a'.repeat(700)}:1`;
    const resolve = createTargetResolver(resource({ kernelMappings: [{ regexp: '.', containerImage }] }));
    expect(resolve('6.1.0')).toMatchObject({ type: 'invalid', error: { code: 'IMAGE_NAME_TOO_LONG' } });
  });
});

function reasons({ status }: ManagedClusterModule): (readonly [string, string | undefined])[] {
  return (status?.clusters ?? []).map((cluster) => [cluster.name, cluster.reason]);
}

describeWith([...apiServerPrograms, 'ocm-work'], 'a fleet with more kernels than a status lists', () => {
  let world: HubWorld;
  beforeAll(async () => {
    world = await startHubWorld();
  }, 120_000);
  afterAll(() => world?.[Symbol.asyncDispose]());

  it('is told so, loses nothing that it has, and stays as it is over a restart', async () => {
    const name = 'many';
    const stop = await world.startControllers();
    await world.jobs.push(world.jobs.image(`${name}:6.0.0`));
    await world.cluster('many-fine', { for: name }, ['6.0.0']);
    for (const part of [0, 1, 2]) {
      const kernels = releases(133, part * 133);
      await world.cluster(`many-${part}`, { for: name }, kernels.slice(0, 100));
      await world.cluster(`many-${part}-more`, { for: name }, kernels.slice(100));
    }
    await world.apply(name, {});
    await world.eventually(name, ({ status }) => {
      expect(status?.images).toHaveLength(maxListedImages);
      expect(status?.phases).toEqual({ Applying: 1, Failed: 6 });
    });
    await world.cluster('many-late', { for: name }, ['6.2.0', '6.0.0']);
    const expected = [
      ['many-0', 'ImageNotFound'],
      ['many-0-more', 'ImageNotFound'],
      ['many-1', 'ImageNotFound'],
      ['many-1-more', 'ImageNotFound'],
      ['many-2', 'ImageNotFound'],
      ['many-2-more', 'ImageNotFound'],
      ['many-late', 'TooManyImages'],
      ['many-fine', 'WaitingForAgent'],
    ];
    const before = await world.eventually(name, (module) => expect(reasons(module)).toEqual(expected));
    await stop();
    await world.startControllers();
    await world.cluster('many-last', { for: name }, ['6.0.0']);
    const after = await world.eventually(name, (module) =>
      expect(module.status?.phases).toEqual({ Applying: 2, Failed: 7 }),
    );
    expect(after.status?.images).toEqual(before.status?.images);
    expect(reasons(after).slice(0, 7)).toEqual(expected.slice(0, 7));
  }, 60_000);

  it('has a status that the API server takes, however long its texts are', async () => {
    const name = 'long';
    await world.apply(name, {});
    const clusters = Array.from({ length: 2000 }, (_, index) => ({
      name: `${'c'.repeat(240)}-${index}`,
      phase: 'Failed' as const,
      reason: 'R'.repeat(500),
      message: 'm'.repeat(5000),
      manifestWork: 'w'.repeat(253),
    }));
    const images = Array.from({ length: maxListedImages }, (_, index) => ({
      image: `${'i'.repeat(630)}-${index}`,
      kernelVersion: 'k'.repeat(64),
      phase: 'Failed' as const,
      reason: 'R'.repeat(500),
      message: 'm'.repeat(5000),
      digest: digest('a'),
      unsignedDigest: digest('b'),
      inputs: 'i'.repeat(16),
      job: 'j'.repeat(63),
      attempts: 3,
    }));
    const status = managedClusterModuleStatusOf({
      resource: await world.module(name),
      clusters,
      images,
      now: '2026-01-02T03:04:05Z',
    });
    await world.client.apply(
      managedClusterModules,
      { metadata: { name }, status },
      { subresource: 'status', force: true },
    );
    expect((await world.module(name)).status).toEqual(status);
  });
});
