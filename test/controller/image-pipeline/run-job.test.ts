import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { secrets, type Job } from '../../../src/controller/observe/cluster/resources.ts';
import { secretVersionSource } from '../../../src/controller/observe/references/projections.ts';
import { listAll } from '../../../src/controller/runtime/api/list.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { endJob } from '../module/cluster-objects.ts';
import { startModuleWorld, type ModuleWorld } from '../module/module-world.ts';

const kernel = '6.1.0-13-amd64';
const waiting = { timeout: 30_000, interval: 50 };

function uids(jobs: readonly Job[]): Set<string | undefined> {
  return new Set(jobs.map(({ metadata }) => metadata.uid));
}

describeWith([...apiServerPrograms, 'docker-registry'], 'a Job with Secrets', () => {
  let world: ModuleWorld;
  beforeAll(async () => {
    world = await startModuleWorld(undefined, 'docker-registry');
    await world.startController();
  }, 120_000);
  afterAll(() => world?.[Symbol.asyncDispose]());

  /** Lets both attempts of a kind fail. Returns their Jobs. */
  async function failTwice(namespace: string, kind: 'build' | 'sign'): Promise<Job[]> {
    const first = await world.activeJob(namespace, kind);
    await endJob(world.client, first, 'Failed');
    const second = await world.activeJob(namespace, kind);
    await endJob(world.client, second, 'Failed');
    await world.eventually(namespace, ({ status }) => {
      expect(status?.kernels).toMatchObject([{ phase: 'Failed', attempts: 2 }]);
    });
    return [first, second];
  }

  it('that failed to sign names them, and one that is mended starts the work again', async () => {
    const name = 'mended';
    await world.namespaceWithNode(name, kernel);
    const image = world.image(`${name}:vendor`);
    await world.push(image);
    const key = { namespace: name, name: 'key' };
    await world.client.create(secrets, { metadata: key, data: { key: btoa('not a key') } });
    const sign = { keySecret: { name: 'key' }, certSecret: { name: 'signing' }, unsignedImage: image };
    await world.apply(name, world.spec(name, { sign }));
    const failed = await failTwice(name, 'sign');
    const { status } = await world.module(name);
    expect(status?.kernels?.[0]).toMatchObject({ reason: 'SignFailed' });
    expect(status?.kernels?.[0]?.message).toContain(`Secret ${name}/key`);
    expect(status?.kernels?.[0]?.message).toContain(`Secret ${name}/signing`);

    const mended = { key: (await readFile(world.key.key)).toString('base64') };
    await world.client.patch(secrets, key, { data: mended });
    const job = await world.activeJob(name, 'sign');
    expect(uids(failed)).not.toContain(job.metadata.uid);
    await world.sign(job);
    await world.eventually(name, (module) => {
      expect(module.status?.kernels).toMatchObject([{ phase: 'Ready', reason: 'Signed' }]);
    });
  });

  it('that failed to build is repeated when a Secret of the build changes, and not before', async () => {
    const name = 'token';
    await world.namespaceWithNode(name, kernel);
    const key = { namespace: name, name };
    await world.client.create(secrets, { metadata: key, data: { token: btoa('expired') } });
    const build = { dockerfileConfigMap: { name: 'build' }, secrets: [{ name }] };
    await world.apply(name, world.spec(name, { build }));
    const failed = await failTwice(name, 'build');
    // Something else happens.
    await world.apply(name, world.spec(name, { build }), { 'example.com/note': '1' });
    await vi.waitFor(async () => expect(uids(await world.jobs(name))).toEqual(uids(failed)), waiting);
    await world.client.patch(secrets, key, { data: { token: btoa('valid') } });
    const job = await world.activeJob(name, 'build');
    expect(uids(failed)).not.toContain(job.metadata.uid);
    await world.build(job);
    await world.eventually(name, ({ status }) => expect(status?.kernels).toMatchObject([{ phase: 'Ready' }]));
  });

  it('is not created before they exist, and the one that is missing is named', async () => {
    const name = 'missing';
    await world.namespaceWithNode(name, kernel);
    const image = world.image(`${name}:vendor`);
    await world.push(image);
    const sign = { keySecret: { name: 'key' }, certSecret: { name: 'signing' }, unsignedImage: image };
    await world.apply(name, world.spec(name, { sign }));
    const { status } = await world.eventually(name, (module) => {
      expect(module.status?.kernels).toMatchObject([{ phase: 'Failed', reason: 'SecretMissing' }]);
    });
    expect(status?.kernels?.[0]?.message).toContain('The Secret missing/key, which sign.keySecret names,');
    expect(await world.jobs(name)).toEqual([]);
    const data = { key: (await readFile(world.key.key)).toString('base64') };
    await world.client.create(secrets, { metadata: { namespace: name, name: 'key' }, data });
    await world.sign(await world.activeJob(name, 'sign'));
    await world.eventually(name, (module) => {
      expect(module.status?.kernels).toMatchObject([{ phase: 'Ready', reason: 'Signed' }]);
    });
  });

  it('does not transfer what they contain', async () => {
    const metadata = { namespace: 'default', name: 'hidden' };
    await world.client.create(secrets, { metadata, data: { key: btoa('a private key') } });
    const { resource } = secretVersionSource;
    const listed = await listAll(world.client, resource, { namespace: 'default' });
    const found = [await world.client.get(resource, metadata), ...listed];
    expect(found).toMatchObject([{ metadata }, { metadata }]);
    expect(JSON.stringify(found)).not.toContain(btoa('a private key'));
  });
});
