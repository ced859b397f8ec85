import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { parsePreflightValidation, type PreflightStatus } from '../../../src/api/preflight-validation.ts';
import { modules, preflightValidations } from '../../../src/controller/cluster/resources.ts';
import { listAll } from '../../../src/controller/runtime/api/list.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { createNode } from '../module/cluster-objects.ts';
import { startModuleWorld, type ModuleWorld } from '../module/module-world.ts';

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
});

function ready(status: PreflightStatus | undefined): object | undefined {
  return status?.conditions?.find(({ type }) => type === 'Ready');
}
