import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { configMaps, modules } from '../../../src/controller/observe/cluster/resources.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { createNode, endJob } from '../module/cluster-objects.ts';
import { argumentsOf, startModuleWorld, type ModuleWorld } from '../module/module-world.ts';
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

describeWith(apiServerPrograms, 'preflight validation', () => {
  let world: ModuleWorld;
  let preflight: Preflight;
  beforeAll(async () => {
    world = await startModuleWorld();
    await world.startController();
    preflight = createPreflight(world);
  });
  afterAll(() => world[Symbol.asyncDispose]());
  afterEach(() => preflight.clear());

  it('verifies each Module by itself, of one name in several namespaces too', async () => {
    const kinds = ['good', 'absent', 'foreign', 'misplaced', 'unmapped', 'unsigned'];
    for (const name of kinds) await world.namespace(name);
    const digest = await world.push(world.image(`good:${kernel}`), '1', path);
    // The file is where the kernel looks for it, but says that it was made for another one.
    const other = '6.1.0-57-amd64';
    await world.push(world.image(`foreign:${other}`), '1', `opt/lib/modules/${other}/hello.ko`);
    await world.push(world.image(`misplaced:${kernel}`), '1', `opt/lib/modules/${other}/hello.ko`);
    await world.push(world.image(`unsigned:${kernel}`), '1', path);
    await preflight.applyModule('good');
    await preflight.applyModule('absent');
    await preflight.applyModule('foreign', { literal: other });
    await preflight.applyModule('misplaced');
    await preflight.applyModule('unmapped', { literal: '5.10.0-1-amd64' });
    await preflight.applyModule('unsigned', {
      container: { sign: { ...sign, unsignedImage: world.image(`unsigned:${kernel}`) } },
    });
    await world.client.apply(
      modules,
      { metadata: { namespace: 'good', name: 'plugin-only' }, spec: { selector: {} } },
      { force: true, fieldManager: 'user' },
    );
    await preflight.ask('each', { kernelVersion: kernel });
    await preflight.ask('next', { kernelVersion: other });
    await preflight.result('each', 'good', {
      verificationStatus: 'Success',
      verificationStage: 'Done',
      digest,
    });
    await preflight.result('each', 'absent', { verificationStatus: 'Failure' });
    await preflight.eventually('each', (status) => {
      const reasons = Object.fromEntries(
        (status?.modules ?? []).map(({ namespace, name, statusReason }) => [
          `${namespace}/${name}`,
          statusReason,
        ]),
      );
      expect(reasons).toEqual({
        'good/driver': expect.stringContaining(`contains hello for kernel ${kernel}`),
        'good/plugin-only': expect.stringContaining('nothing to load'),
        'absent/driver': expect.stringContaining('does not exist'),
        'foreign/driver': expect.stringContaining('mapping not found'),
        'misplaced/driver': expect.stringContaining(`has no hello.ko in /opt/lib/modules/${kernel}`),
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
        'absent/driver': { verificationStatus: 'False', verificationStage: 'Done' },
        'good/plugin-only': { verificationStatus: 'True' },
        'plugin-only': { verificationStatus: 'True' },
      });
    });
    await preflight.result('next', 'foreign', {
      verificationStatus: 'Failure',
      statusReason: expect.stringContaining(`was built for ${kernel} SMP preempt`),
    });
  });

  it('builds and signs for real where that is asked for, and collects the Jobs', async () => {
    const name = 'made';
    await world.namespace(name);
    await preflight.applyModule(name, { container: { build, sign } });
    await preflight.ask(name, { kernelVersion: kernel, pushBuiltImage: true });
    const buildJob = await world.activeJob(name, 'build');
    await preflight.result(name, name, { verificationStatus: 'InProgress', job: buildJob.metadata.name });
    await world.build(buildJob, '1', path);
    const signJob = await world.activeJob(name, 'sign');
    await world.sign(signJob);
    await preflight.result(name, name, {
      verificationStatus: 'Success',
      statusReason: expect.stringMatching(/signed$/),
    });
    await preflight.eventually(name, (status) => expect(ready(status)).toMatchObject({ status: 'True' }));
    await vi.waitFor(async () => expect(await world.jobs(name)).toEqual([]), waiting);
    // Nodes that get the kernel find everything done.
    await createNode(world.client, { name, kernel, labels: { for: name } });
    await world.eventually(name, ({ status }) => expect(status?.kernels?.[0]?.phase).toBe('Ready'));
    expect(await world.jobs(name)).toEqual([]);
  });

  it('only tries a build where nothing is to be kept, and says what was not checked', async () => {
    const [plain, signed] = ['tried', 'tried-signed'];
    for (const name of [plain, signed]) await world.namespace(name);
    await preflight.applyModule(plain, { container: { build } });
    await preflight.applyModule(signed, { container: { build, sign } });
    await preflight.ask(plain, { kernelVersion: kernel });
    for (const name of [plain, signed]) {
      const job = await world.activeJob(name, 'build');
      expect(argumentsOf(job)).toContain('--no-push');
      expect(argumentsOf(job).filter((argument) => argument.startsWith('--destination'))).toEqual([]);
      await endJob(world.client, job, 'Complete');
    }
    await preflight.result(plain, plain, {
      verificationStatus: 'Success',
      statusReason: expect.stringContaining('its content was not checked'),
    });
    await preflight.result(plain, signed, {
      verificationStatus: 'Failure',
      statusReason: expect.stringContaining('signing it was not tried'),
    });
    await vi.waitFor(async () => expect(await world.jobs(plain)).toEqual([]), waiting);
  });

  it('says why a build fails, and tries again as often as the operator may', async () => {
    const name = 'failing';
    await world.namespace(name);
    await preflight.applyModule(name, { container: { build } });
    await preflight.ask(name, { kernelVersion: kernel });
    await endJob(world.client, await world.activeJob(name, 'build'), 'Failed');
    const second = await world.activeJob(name, 'build');
    await endJob(world.client, second, 'Failed');
    await preflight.result(name, name, {
      verificationStatus: 'Failure',
      job: second.metadata.name,
      statusReason: expect.stringContaining(`Job ${second.metadata.name} failed`),
    });
    expect(await world.jobs(name)).toHaveLength(2);
    // A Dockerfile that is put right starts anew.
    const dockerfile = { dockerfile: 'FROM scratch\nLABEL right=1\n' };
    await world.client.patch(configMaps, { namespace: name, name: 'build' }, { data: dockerfile });
    await endJob(world.client, await world.activeJob(name, 'build'), 'Complete');
    await preflight.result(name, name, { verificationStatus: 'Success' });
  });
});
