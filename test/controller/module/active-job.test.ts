import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { jobs, modules, type Job } from '../../../src/controller/observe/cluster/resources.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { startModuleWorld, type ModuleWorld } from './module-world.ts';

const kernel = '6.1.0-14-amd64';

describeWith([...apiServerPrograms, 'docker-registry'], 'a Job that is active', () => {
  const resources = new AsyncDisposableStack();
  let world: ModuleWorld;
  beforeAll(async () => {
    world = resources.use(await startModuleWorld(undefined, 'docker-registry'));
  }, 120_000);
  afterAll(() => resources.disposeAsync());

  it.each(['sign', 'build'] as const)(
    'and has pushed its image is not deleted by an operator that does not know of it: %s',
    async (kind) => {
      const name = `active-${kind}`;
      await world.namespaceWithNode(name, kernel);
      const containerImage = world.image(`${name}:${kernel}`);
      const names = { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } };
      const sign = { ...names, unsignedImage: world.image(`${name}:vendor`) };
      await world.push(sign.unsignedImage);
      const recipe = kind === 'sign' ? { sign } : { build: { dockerfileConfigMap: { name: 'build' } } };
      const stop = await world.startController();
      await world.apply(name, world.spec(name, { containerImage, ...recipe }));
      const job = await world.activeJob(name, kind);
      await stop();
      if (kind === 'sign') await world.sign(job, world.key, false);
      else await world.push(containerImage);
      // As the Module is before the operator that has created the Job says so.
      const key = { namespace: name, name: 'driver' };
      await world.client.patch(modules, key, { status: null }, { subresource: 'status' });
      // A Job that is not needed shows that it has deleted what it would.
      await createOther(world, job);
      const stopAgain = await world.startController();
      await world.eventually(name, ({ status }) =>
        expect(status?.kernels).toMatchObject([{ phase: 'Ready' }]),
      );
      await vi.waitFor(
        async () => {
          const left = (await world.jobs(name)).map(({ metadata }) => metadata.name);
          expect(left).not.toContain('zz-outdated');
          expect(left).toEqual([job.metadata.name]);
        },
        { timeout: 20_000 },
      );
      await stopAgain();
    },
  );
});

/** Creates a Job like another one, of other inputs. */
async function createOther(world: ModuleWorld, { metadata, spec }: Job): Promise<void> {
  const { namespace, labels, ownerReferences } = metadata;
  await world.client.create(jobs, {
    metadata: { name: 'zz-outdated', namespace, labels, ownerReferences },
    spec: { template: { spec: spec?.template.spec ?? { containers: [] } } },
  });
}
