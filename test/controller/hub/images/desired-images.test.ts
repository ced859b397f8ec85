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

  it('are all accepted if the status can list them', () => {
    const kernels = releases(maxListedImages);
    const images = view.imagesFor(kernels);
    const limited = limitImages(images, new Set(), new Map(kernels.map((release) => [release, 1])));
    expect(limited.desired).toEqual(images);
    expect(limited.refused.size).toBe(0);
  });

  it('beyond the limit are refused: listed ones keep their place, then those that most clusters need', () => {
    const [listed, common, rare] = [
      releases(maxListedImages - 1),
      releases(1, 5000),
      releases(maxListedImages, 7000),
    ];
    const kernels = [...rare, ...common, ...listed];
    const { desired, refused } = limitImages(
      view.imagesFor(kernels),
      new Set(listed.map(imageOf)),
      new Map(kernels.map((release) => [release, release === common[0] ? 2 : 1])),
    );
    expect(new Set(desired.map(({ target }) => target.kernel.release))).toEqual(
      new Set([...listed, ...common]),
    );
    expect(Array.from(refused.keys(), ({ kernel }) => kernel.release)).toEqual(rare);
    expect([...refused.values()][0]).toMatchObject({
      code: 'TOO_MANY_IMAGES',
      message: `The clusters of driver need ${2 * maxListedImages} images, and the limit for one ManagedClusterModule is ${maxListedImages}`,
    });
  });

  it('have names of limited length', () => {
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

  it('has a status that says so, keeps its images, and stays the same after a restart', async () => {
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

  it('has a status that the API server accepts, however long its texts are', async () => {
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
    const status = managedClusterModuleStatusOf(
      await world.module(name),
      clusters,
      images,
      '2026-01-02T03:04:05Z',
    );
    await world.client.apply(
      managedClusterModules,
      { metadata: { name }, status },
      { subresource: 'status', force: true },
    );
    expect((await world.module(name)).status).toEqual(status);
  });
});
