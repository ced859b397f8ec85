import { afterAll, beforeAll, expect, it } from 'vitest';
import { RegistryClient } from '../../../src/registry/image/client.ts';
import { isDigest } from '../../../src/registry/model/digest.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { createEndedPod, reasonsOf } from '../module/cluster-objects.ts';
import { startModuleWorld, type ModuleWorld } from '../module/module-world.ts';

const kernel = '6.1.0-13-amd64';

describeWith([...apiServerPrograms, 'docker-registry'], 'an image that is ready', () => {
  const resources = new AsyncDisposableStack();
  let world: ModuleWorld;
  let registryClient: RegistryClient;
  /** Milliseconds by which the clock of the operator is ahead. */
  let ahead = 0;
  beforeAll(async () => {
    world = resources.use(await startModuleWorld(undefined, 'docker-registry'));
    registryClient = new RegistryClient({ plainHttp: true });
    resources.defer(() => registryClient.close());
    await world.startController({
      images: { foundTtl: 1500 },
      gcDelay: 3_600_000,
      now: () => Date.now() + ahead,
    });
  }, 120_000);
  afterAll(() => resources.disposeAsync());

  async function remove(repository: string, digest: string): Promise<void> {
    if (!isDigest(digest)) throw new TypeError(digest);
    await registryClient.repository({ registry: world.registry.host, repository }).deleteManifest(digest);
  }

  it.each([
    ['tag', (name: string) => `${name}:${kernel}`],
    ['digest', (name: string, digest: string) => `${name}@${digest}`],
  ])('and is deleted is noticed although nothing else happens, if a %s names it', async (by, imageOf) => {
    const name = `deleted-by-${by}`;
    await world.namespaceWithNode(name, kernel);
    const digest = await world.push(world.image(`${name}:${kernel}`));
    const containerImage = world.image(imageOf(name, digest));
    await world.apply(name, world.spec(name, { containerImage }));
    await world.eventually(name, ({ status }) => expect(status?.kernels).toMatchObject([{ phase: 'Ready' }]));
    await remove(name, digest);
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels).toMatchObject([{ phase: 'Failed', reason: 'ImageNotFound' }]);
      expect(status?.conditions).toContainEqual(
        expect.objectContaining({ type: 'Degraded', status: 'True', reason: 'ImageNotFound' }),
      );
    });
    // What runs stays.
    expect(await world.daemonSets(name)).toHaveLength(1);
    await world.events(name, (events) => expect(reasonsOf(events)).toContain('ImageNotFound'));
  });

  it.each([
    ['whose pod says what it pushed', true, 60_000],
    ['of which there is no pod any more, after ten minutes', false, 600_000],
  ])('and is overwritten is signed again by the Job %s', async (_title, hasPod, delay) => {
    const name = hasPod ? 'overwritten' : 'overwritten-without-pod';
    const sign = { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } };
    const image = world.image(`${name}:${kernel}`);
    await world.namespaceWithNode(name, kernel);
    await world.push(world.image(`${name}:vendor`));
    const container = {
      containerImage: image,
      sign: { ...sign, unsignedImage: world.image(`${name}:vendor`) },
    };
    await world.apply(name, world.spec(name, container));
    const job = await world.activeJob(name, 'sign');
    const digest = await world.sign(job);
    if (hasPod) await createEndedPod(world.client, job, digest);
    await world.eventually(name, ({ status }) => expect(status?.kernels).toMatchObject([{ digest }]));
    ahead += delay;
    await world.push(image, 'overwritten');
    const second = await world.activeJob(name, 'sign');
    expect(second.metadata.name).toBe(job.metadata.name);
    expect(second.metadata.uid).not.toBe(job.metadata.uid);
    const again = await world.sign(second);
    await world.eventually(name, ({ status }) =>
      expect(status?.kernels).toMatchObject([{ phase: 'Ready', reason: 'Signed', digest: again }]),
    );
  });

  it('and is deleted is built again', async () => {
    const name = 'deleted-and-built';
    await world.namespaceWithNode(name, kernel);
    const containerImage = world.image(`${name}:${kernel}`);
    const build = { dockerfileConfigMap: { name: 'build' } };
    await world.apply(name, world.spec(name, { containerImage, build }));
    const digest = await world.build(await world.activeJob(name, 'build'));
    await world.eventually(name, ({ status }) => expect(status?.kernels).toMatchObject([{ digest }]));
    await remove(name, digest);
    ahead += 600_000;
    const again = await world.build(await world.activeJob(name, 'build'), '2');
    await world.eventually(name, ({ status }) => expect(status?.kernels).toMatchObject([{ digest: again }]));
  });
});
