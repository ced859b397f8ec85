import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { parsePreflightValidation, type PreflightStatus } from '../../../src/api/preflight-validation.ts';
import {
  configMaps,
  modules,
  nodes,
  preflightValidations,
} from '../../../src/controller/cluster/resources.ts';
import { listAll } from '../../../src/controller/runtime/api/list.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { createNode, endJob } from '../module/cluster-objects.ts';
import { argumentsOf, startModuleWorld, type ModuleWorld } from '../module/module-world.ts';

/** What the module of the fixture was made for: modinfo says so. */
const kernel = '6.1.0-56-amd64';
const path = `opt/lib/modules/${kernel}/hello.ko`;
const waiting = { timeout: 20_000, interval: 50 };

describeWith(apiServerPrograms, 'preflight validation', () => {
  let world: ModuleWorld;
  beforeAll(async () => {
    world = await startModuleWorld();
    await world.startController();
  });
  afterAll(() => world[Symbol.asyncDispose]());
  // Every validation looks at every Module.
  afterEach(async () => {
    for (const resource of [preflightValidations, modules]) {
      for (const { metadata } of await listAll(world.client, resource)) {
        await world.client.delete(resource, metadata);
      }
    }
  });

  /** A Module in a namespace of its own, for one kernel only. */
  async function applyModule(
    name: string,
    { container = {}, literal = kernel }: { container?: object; literal?: string } = {},
  ): Promise<void> {
    const spec = {
      moduleLoader: {
        container: {
          modprobe: { moduleName: 'hello', dirName: '/opt' },
          containerImage: world.image(`${name}:\${KERNEL_FULL_VERSION}`),
          registryTLS: { insecure: true },
          kernelMappings: [{ literal }],
          ...container,
        },
      },
      selector: { for: name },
    };
    await world.apply(name, spec);
  }

  async function ask(name: string, spec: object): Promise<void> {
    await world.client.apply(
      preflightValidations,
      { metadata: { name }, spec },
      { force: true, fieldManager: 'user' },
    );
  }

  async function statusOf(name: string): Promise<PreflightStatus | undefined> {
    return parsePreflightValidation(await world.client.get(preflightValidations, { name })).status;
  }

  async function eventually(
    name: string,
    check: (status: PreflightStatus | undefined) => void,
  ): Promise<void> {
    await vi.waitFor(async () => check(await statusOf(name)), waiting);
  }

  /** Waits for what a validation says of the Module in a namespace. */
  async function result(name: string, namespace: string, expected: object): Promise<void> {
    await eventually(name, (status) => {
      const found = status?.modules?.find((module) => module.namespace === namespace);
      expect(found).toMatchObject(expected);
    });
  }

  const build = { dockerfileConfigMap: { name: 'build' } };
  const sign = { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } };

  it('verifies each Module by itself, of one name in several namespaces too', async () => {
    const kinds = ['good', 'absent', 'foreign', 'misplaced', 'unmapped', 'unsigned'];
    for (const name of kinds) await world.namespace(name);
    const digest = await world.push(world.image(`good:${kernel}`), '1', path);
    // The file is where the kernel looks for it, but says that it was made for another one.
    const other = '6.1.0-57-amd64';
    await world.push(world.image(`foreign:${other}`), '1', `opt/lib/modules/${other}/hello.ko`);
    await world.push(world.image(`misplaced:${kernel}`), '1', `opt/lib/modules/${other}/hello.ko`);
    await world.push(world.image(`unsigned:${kernel}`), '1', path);
    await applyModule('good');
    await applyModule('absent');
    await applyModule('foreign', { literal: other });
    await applyModule('misplaced');
    await applyModule('unmapped', { literal: '5.10.0-1-amd64' });
    await applyModule('unsigned', {
      container: { sign: { ...sign, unsignedImage: world.image(`unsigned:${kernel}`) } },
    });
    await world.client.apply(
      modules,
      { metadata: { namespace: 'good', name: 'plugin-only' }, spec: { selector: {} } },
      { force: true, fieldManager: 'user' },
    );
    await ask('each', { kernelVersion: kernel });
    await ask('next', { kernelVersion: other });
    await result('each', 'good', { verificationStatus: 'Success', verificationStage: 'Done', digest });
    await result('each', 'absent', { verificationStatus: 'Failure' });
    await eventually('each', (status) => {
      const reasons = Object.fromEntries(
        (status?.modules ?? []).map(({ namespace, name, statusReason }) => [
          `${namespace}/${name}`,
          statusReason,
        ]),
      );
      expect(reasons).toEqual({
        'good/driver': expect.stringContaining(`holds hello for kernel ${kernel}`),
        'good/plugin-only': expect.stringContaining('nothing to load'),
        'absent/driver': expect.stringContaining('does not exist'),
        'foreign/driver': expect.stringContaining('mapping not found'),
        'misplaced/driver': expect.stringContaining(`holds no hello.ko in /opt/lib/modules/${kernel}`),
        'unmapped/driver': expect.stringContaining('mapping not found'),
        'unsigned/driver': expect.stringContaining('pushBuiltImage'),
      });
      expect(ready(status)).toMatchObject({
        status: 'False',
        reason: 'VerificationFailed',
        message: expect.stringMatching(/^5 of 7 Modules would not be ready/),
      });

      expect(Object.keys(status?.crStatuses ?? {})).toHaveLength(8);
      expect(status?.crStatuses).toMatchObject({
        'good/driver': { verificationStatus: 'True', verificationStage: 'Done' },
        'absent/driver': { verificationStatus: 'False', verificationStage: 'Requeued' },
        'good/plugin-only': { verificationStatus: 'True' },
        'plugin-only': { verificationStatus: 'True' },
      });
    });
    await result('next', 'foreign', {
      verificationStatus: 'Failure',
      statusReason: expect.stringContaining(`was made for ${kernel} SMP preempt`),
    });
  });

  it('builds and signs for real where that is asked for, and collects the Jobs', async () => {
    const name = 'made';
    await world.namespace(name);
    await applyModule(name, { container: { build, sign } });
    await ask(name, { kernelVersion: kernel, pushBuiltImage: true });
    const buildJob = await world.activeJob(name, 'build');
    await result(name, name, { verificationStatus: 'InProgress', job: buildJob.metadata.name });
    await world.build(buildJob, '1', path);
    const signJob = await world.activeJob(name, 'sign');
    await world.sign(signJob);
    await result(name, name, {
      verificationStatus: 'Success',
      statusReason: expect.stringMatching(/signed$/),
    });
    await eventually(name, (status) => expect(ready(status)).toMatchObject({ status: 'True' }));
    await vi.waitFor(async () => expect(await world.jobs(name)).toEqual([]), waiting);
    // Nodes that get the kernel find everything done.
    await createNode(world.client, { name, kernel, labels: { for: name } });
    await world.eventually(name, ({ status }) => expect(status?.kernels?.[0]?.phase).toBe('Ready'));
    expect(await world.jobs(name)).toEqual([]);
  });

  it('asks nodes’ Modules where nodes run the kernel already, and shares their Jobs', async () => {
    const name = 'shared';
    await world.namespace(name);
    await applyModule(name, { container: { build } });
    await ask(name, { kernelVersion: kernel, pushBuiltImage: true });
    const job = await world.activeJob(name, 'build');
    await createNode(world.client, { name, kernel, labels: { for: name } });
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels?.[0]).toMatchObject({ phase: 'Building', job: job.metadata.name });
    });
    await world.build(job, '1', path);
    await result(name, name, { verificationStatus: 'Success' });
    await world.eventually(name, ({ status }) => expect(status?.kernels?.[0]?.phase).toBe('Ready'));
    await world.client.delete(nodes, { name });
  });

  it('only tries a build where nothing is to be kept, and says what was not checked', async () => {
    const [plain, signed] = ['tried', 'tried-signed'];
    for (const name of [plain, signed]) await world.namespace(name);
    await applyModule(plain, { container: { build } });
    await applyModule(signed, { container: { build, sign } });
    await ask(plain, { kernelVersion: kernel });
    for (const name of [plain, signed]) {
      const job = await world.activeJob(name, 'build');
      expect(argumentsOf(job)).toContain('--no-push');
      expect(argumentsOf(job).filter((argument) => argument.startsWith('--destination'))).toEqual([]);
      await endJob(world.client, job, 'Complete');
    }
    await result(plain, plain, {
      verificationStatus: 'Success',
      statusReason: expect.stringContaining('its content was not checked'),
    });
    await result(plain, signed, {
      verificationStatus: 'Failure',
      statusReason: expect.stringContaining('signing it was not tried'),
    });
    await vi.waitFor(async () => expect(await world.jobs(plain)).toEqual([]), waiting);
  });

  it('says why a build fails, and tries again as often as the operator may', async () => {
    const name = 'failing';
    await world.namespace(name);
    await applyModule(name, { container: { build } });
    await ask(name, { kernelVersion: kernel });
    await endJob(world.client, await world.activeJob(name, 'build'), 'Failed');
    const second = await world.activeJob(name, 'build');
    await endJob(world.client, second, 'Failed');
    await result(name, name, {
      verificationStatus: 'Failure',
      job: second.metadata.name,
      statusReason: expect.stringContaining(`Job ${second.metadata.name} failed`),
    });
    expect(await world.jobs(name)).toHaveLength(2);
    // A Dockerfile that is put right starts anew.
    const dockerfile = { dockerfile: 'FROM scratch\nLABEL right=1\n' };
    await world.client.patch(configMaps, { namespace: name, name: 'build' }, { data: dockerfile });
    await endJob(world.client, await world.activeJob(name, 'build'), 'Complete');
    await result(name, name, { verificationStatus: 'Success' });
  });

  it('does work once that two validations ask for, and stops it when nobody asks any more', async () => {
    const name = 'two';
    await world.namespace(name);
    await applyModule(name, { container: { build } });
    await ask('b-keeps', { kernelVersion: kernel, pushBuiltImage: true });
    const job = await world.activeJob(name, 'build');
    await ask('a-tries', { kernelVersion: kernel });
    await result('a-tries', name, { verificationStatus: 'InProgress', job: job.metadata.name });
    expect(await world.jobs(name)).toHaveLength(1);
    await world.build(job, '1', path);
    for (const validation of ['a-tries', 'b-keeps']) {
      await eventually(validation, (status) => expect(ready(status)).toMatchObject({ status: 'True' }));
    }
    await applyModule(name, {
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
    await applyModule(name, { container: { build } });
    await ask(name, { kernelVersion: kernel });
    await endJob(world.client, await world.activeJob(name, 'build'), 'Complete');
    await result(name, name, { verificationStatus: 'Success' });
    const before = (await statusOf(name))?.modules?.[0];
    // Without its Dockerfile it could not be verified again.
    await world.client.delete(configMaps, { namespace: name, name: 'build' });
    await applyModule(other);
    await result(name, other, { verificationStatus: 'Failure' });
    await vi.waitFor(async () => expect(await world.jobs(name)).toEqual([]), waiting);
    expect((await statusOf(name))?.modules?.[0]).toEqual(before);
    await world.push(world.image(`${name}:${kernel}`), '1', 'opt/lib/modules/1.2.3/hello.ko');
    await world.push(world.image(`${other}:${kernel}`), '1', path);
    await result(name, other, { verificationStatus: 'Success' });
    await applyModule(name);
    await result(name, name, {
      verificationStatus: 'Failure',
      statusReason: expect.stringContaining('holds no hello.ko'),
    });
    await world.push(world.image(`${name}:${kernel}`), '2', path);
    await eventually(name, (status) => expect(ready(status)).toMatchObject({ status: 'True' }));
    const { resourceVersion } = (await world.client.get(preflightValidations, { name })).metadata;
    await world.client.patch(
      modules,
      { namespace: name, name: 'driver' },
      { metadata: { labels: { a: 'b' } } },
    );
    await ask('kept-too', { kernelVersion: kernel });
    await eventually('kept-too', (status) => expect(ready(status)).toMatchObject({ status: 'True' }));
    expect((await world.client.get(preflightValidations, { name })).metadata.resourceVersion).toBe(
      resourceVersion,
    );
  });

  it.each(['../../../etc', '6.1.0\nrm', '6.1.0/../../x', '$(reboot)', '*', '-x', '6'.repeat(65)])(
    'refuses a kernel that no kernel can have: %j',
    async (kernelVersion) => {
      await ask('hostile', { kernelVersion });
      await eventually('hostile', (status) => {
        expect(ready(status)).toMatchObject({ status: 'False', reason: 'InvalidKernelVersion' });
        expect(status?.modules ?? []).toEqual([]);
      });
    },
  );

  it.each(['6.1', '6.1.0-rc1+', '5.14.0-284.el9_2.x86_64', '6'])(
    'takes what uname may print: %s',
    async (kernelVersion) => {
      await ask('odd', { kernelVersion });
      await eventually('odd', (status) => expect(ready(status)).toMatchObject({ status: 'True' }));
    },
  );
});

function ready(status: PreflightStatus | undefined): object | undefined {
  return status?.conditions?.find(({ type }) => type === 'Ready');
}
