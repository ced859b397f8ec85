import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import {
  configMaps,
  modules,
  nodes,
  preflightValidations,
} from '../../../src/controller/observe/cluster/resources.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { createNode, endJob } from '../module/cluster-objects.ts';
import { startModuleWorld, type ModuleWorld } from '../module/module-world.ts';
import {
  build,
  createPreflight,
  kernel,
  path,
  ready,
  sign,
  waiting,
  type Preflight,
} from './preflight-world.ts';

describeWith(apiServerPrograms, 'preflight validation beside other work', () => {
  let world: ModuleWorld;
  let preflight: Preflight;
  beforeAll(async () => {
    world = await startModuleWorld();
    await world.startController();
    preflight = createPreflight(world);
  });
  afterAll(() => world[Symbol.asyncDispose]());
  afterEach(() => preflight.clear());

  it('asks nodes’ Modules where nodes run the kernel already, and shares their Jobs', async () => {
    const name = 'shared';
    await world.namespace(name);
    await preflight.applyModule(name, { container: { build } });
    await preflight.ask(name, { kernelVersion: kernel, pushBuiltImage: true });
    const job = await world.activeJob(name, 'build');
    await createNode(world.client, { name, kernel, labels: { for: name } });
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels?.[0]).toMatchObject({ phase: 'Building', job: job.metadata.name });
    });
    await world.build(job, '1', path);
    await preflight.result(name, name, { verificationStatus: 'Success' });
    await world.eventually(name, ({ status }) => expect(status?.kernels?.[0]?.phase).toBe('Ready'));
    await world.client.delete(nodes, { name });
  });

  it('does work once that two validations ask for, and stops it when nobody asks any more', async () => {
    const name = 'two';
    await world.namespace(name);
    await preflight.applyModule(name, { container: { build } });
    await preflight.ask('b-keeps', { kernelVersion: kernel, pushBuiltImage: true });
    const job = await world.activeJob(name, 'build');
    await preflight.ask('a-tries', { kernelVersion: kernel });
    await preflight.result('a-tries', name, { verificationStatus: 'InProgress', job: job.metadata.name });
    expect(await world.jobs(name)).toHaveLength(1);
    await world.build(job, '1', path);
    for (const validation of ['a-tries', 'b-keeps']) {
      await preflight.eventually(validation, (status) =>
        expect(ready(status)).toMatchObject({ status: 'True' }),
      );
    }
    await preflight.applyModule(name, {
      container: { build, containerImage: world.image('two:other') },
    });
    await world.activeJob(name, 'build');
    for (const validation of ['a-tries', 'b-keeps']) {
      await world.client.delete(preflightValidations, { name: validation });
    }
    await vi.waitFor(async () => expect(await world.jobs(name)).toEqual([]), waiting);
  });

  it('leaves what was verified alone until the Module or the image changes', async () => {
    const [name, other] = ['kept', 'later'];
    for (const namespace of [name, other]) await world.namespace(namespace);
    await preflight.applyModule(name, { container: { build } });
    await preflight.ask(name, { kernelVersion: kernel });
    await endJob(world.client, await world.activeJob(name, 'build'), 'Complete');
    await preflight.result(name, name, { verificationStatus: 'Success' });
    const before = (await preflight.status(name))?.modules?.[0];
    // Without its Dockerfile it could not be verified again.
    await world.client.delete(configMaps, { namespace: name, name: 'build' });
    await preflight.applyModule(other);
    await preflight.result(name, other, { verificationStatus: 'Failure' });
    await vi.waitFor(async () => expect(await world.jobs(name)).toEqual([]), waiting);
    expect((await preflight.status(name))?.modules?.[0]).toEqual(before);
    await world.push(world.image(`${name}:${kernel}`), '1', 'opt/lib/modules/1.2.3/hello.ko');
    await world.push(world.image(`${other}:${kernel}`), '1', path);
    await preflight.result(name, other, { verificationStatus: 'Success' });
    await preflight.applyModule(name);
    await preflight.result(name, name, {
      verificationStatus: 'Failure',
      statusReason: expect.stringContaining('has no hello.ko'),
    });
    await world.push(world.image(`${name}:${kernel}`), '2', path);
    await preflight.eventually(name, (status) => expect(ready(status)).toMatchObject({ status: 'True' }));
    const { resourceVersion } = (await world.client.get(preflightValidations, { name })).metadata;
    await world.client.patch(
      modules,
      { namespace: name, name: 'driver' },
      { metadata: { labels: { a: 'b' } } },
    );
    await preflight.ask('kept-too', { kernelVersion: kernel });
    await preflight.eventually('kept-too', (status) =>
      expect(ready(status)).toMatchObject({ status: 'True' }),
    );
    expect((await world.client.get(preflightValidations, { name })).metadata.resourceVersion).toBe(
      resourceVersion,
    );
  });

  it.each(['../../../etc', '6.1.0\nrm', '6.1.0/../../x', '$(reboot)', '*', '-x', '6'.repeat(65)])(
    'refuses a kernel that no kernel can have: %j',
    async (kernelVersion) => {
      await preflight.ask('hostile', { kernelVersion });
      await preflight.eventually('hostile', (status) => {
        expect(ready(status)).toMatchObject({ status: 'False', reason: 'InvalidKernelVersion' });
        expect(status?.modules ?? []).toEqual([]);
      });
    },
  );

  it.each(['6.1', '6.1.0-rc1+', '5.14.0-284.el9_2.x86_64', '6'])(
    'takes what uname may print: %s',
    async (kernelVersion) => {
      await preflight.ask('odd', { kernelVersion });
      await preflight.eventually('odd', (status) => expect(ready(status)).toMatchObject({ status: 'True' }));
    },
  );

  it('leaves an image that other nodes run to their Module, and says that it does not serve the kernel', async () => {
    const name = 'one-image';
    const running = '6.1.0-55-amd64';
    await world.namespace(name);
    await createNode(world.client, { name, kernel: running, labels: { for: name } });
    const filesToSign = ['/opt/lib/modules/${KERNEL_FULL_VERSION}/hello.ko'];
    const vendor = { ...sign, filesToSign, unsignedImage: world.image(`${name}:vendor`) };
    await world.push(vendor.unsignedImage, '1', `opt/lib/modules/${running}/hello.ko`);
    const image = { containerImage: world.image(`${name}:1`), kernelMappings: [{ regexp: '^6' }] };
    await preflight.applyModule(name, { container: { ...image, sign: vendor } });
    const job = await world.activeJob(name, 'sign');
    await preflight.ask(name, { kernelVersion: kernel, pushBuiltImage: true });
    await preflight.result(name, name, { verificationStatus: 'InProgress', job: job.metadata.name });
    expect(await world.jobs(name)).toHaveLength(1);
    await world.sign(job);
    await preflight.result(name, name, {
      verificationStatus: 'Failure',
      statusReason: expect.stringContaining(`has no hello.ko in /opt/lib/modules/${kernel}`),
    });
    await world.client.delete(nodes, { name });
  });

  it('makes an image once that serves two kernels that are asked about', async () => {
    const name = 'two-kernels';
    await world.namespace(name);
    const vendor = { ...sign, unsignedImage: world.image(`${name}:vendor`) };
    await world.push(vendor.unsignedImage, '1', path);
    const image = { containerImage: world.image(`${name}:1`), kernelMappings: [{ regexp: '^6' }] };
    await preflight.applyModule(name, { container: { ...image, sign: vendor } });
    await preflight.ask('first', { kernelVersion: kernel, pushBuiltImage: true });
    await preflight.ask('second', { kernelVersion: '6.1.0-57-amd64', pushBuiltImage: true });
    const job = await world.activeJob(name, 'sign');
    for (const validation of ['first', 'second']) {
      await preflight.result(validation, name, { job: job.metadata.name });
    }
    expect(await world.jobs(name)).toHaveLength(1);
    await world.sign(job);
    await preflight.result('first', name, { verificationStatus: 'Success' });
    await preflight.result('second', name, { verificationStatus: 'Failure' });
  });
});
