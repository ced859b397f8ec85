import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { parsePreflightValidationOcp, type PreflightStatus } from '../../../src/api/preflight-validation.ts';
import {
  configMaps,
  modules,
  preflightValidations,
  preflightValidationsOcp,
} from '../../../src/controller/observe/cluster/resources.ts';
import { listAll } from '../../../src/controller/runtime/api/list.ts';
import { RegistryClient } from '../../../src/registry/image/client.ts';
import { parseReference } from '../../../src/registry/model/reference.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { storeImage, withParents, type TestEntry } from '../../support/images.ts';
import { describeWith } from '../../support/programs.ts';
import { argumentsOf, startModuleWorld, type ModuleWorld } from '../module/module-world.ts';

/** What the module of the fixture was made for: modinfo says so. */
const kernel = '6.1.0-56-amd64';
const realTimeKernel = '6.1.0-56-rt-amd64';
const waiting = { timeout: 20_000, interval: 50 };

describeWith(apiServerPrograms, 'preflight validation for OpenShift', () => {
  let world: ModuleWorld;
  const registries = new RegistryClient({ plainHttp: true });
  beforeAll(async () => {
    world = await startModuleWorld();
    await world.startController();
  });
  afterAll(async () => {
    await registries.close();
    await world[Symbol.asyncDispose]();
  });
  afterEach(async () => {
    // There is no garbage collector here.
    for (const resource of [preflightValidationsOcp, preflightValidations, modules]) {
      for (const { metadata } of await listAll(world.client, resource)) {
        await world.client.delete(resource, metadata);
      }
    }
  });

  async function store(image: string, entries: readonly TestEntry[]): Promise<string> {
    const { repository, tag } = parseReference(image);
    const place = registries.repository({ registry: world.registry.host, repository });
    const base = { entries: withParents('usr/bin/tool', 'base') };
    const { digest } = await storeImage(place, { layers: [base, { entries }] }, tag);
    return `${world.image(repository)}@${digest}`;
  }

  /** A release as OpenShift publishes it: a list of images, and the Driver Toolkit that it names. */
  async function storeRelease(name: string): Promise<{ release: string; toolkit: string }> {
    const versions = { KERNEL_VERSION: kernel, RT_KERNEL_VERSION: realTimeKernel, RHEL_VERSION: '9.2' };
    const toolkit = await store(
      world.image(`${name}/toolkit:1`),
      withParents('etc/driver-toolkit-release.json', JSON.stringify(versions)),
    );
    const stream = {
      kind: 'ImageStream',
      apiVersion: 'image.openshift.io/v1',
      spec: {
        tags: [
          { name: 'cli', from: { kind: 'DockerImage', name: 'registry.example/cli@sha256:0' } },
          { name: 'driver-toolkit', from: { kind: 'DockerImage', name: toolkit } },
        ],
      },
    };
    const release = await store(
      world.image(`${name}/release:4.14.0`),
      withParents('release-manifests/image-references', JSON.stringify(stream)),
    );
    return { release, toolkit };
  }

  async function ask(name: string, spec: object): Promise<void> {
    await world.client.apply(
      preflightValidationsOcp,
      { metadata: { name }, spec },
      { force: true, fieldManager: 'user' },
    );
  }

  async function eventually(
    name: string,
    check: (status: PreflightStatus | undefined) => void,
  ): Promise<void> {
    await vi.waitFor(async () => {
      const object = await world.client.get(preflightValidationsOcp, { name });
      check(parsePreflightValidationOcp(object).status);
    }, waiting);
  }

  async function applyModule(name: string): Promise<void> {
    await world.namespace(name);
    const dockerfile = 'ARG DTK_AUTO\nFROM ${DTK_AUTO}\n';
    await world.client.patch(configMaps, { namespace: name, name: 'build' }, { data: { dockerfile } });
    await world.apply(name, {
      moduleLoader: {
        container: {
          modprobe: { moduleName: 'hello', dirName: '/opt' },
          containerImage: world.image(`${name}:\${KERNEL_FULL_VERSION}`),
          registryTLS: { insecure: true },
          build: { dockerfileConfigMap: { name: 'build' } },
          kernelMappings: [{ regexp: '^.+$' }],
        },
      },
      selector: { for: name },
    });
  }

  it('finds kernel and Driver Toolkit of a release, builds with them, and gives the result as its own', async () => {
    const name = 'release';
    await applyModule(name);
    const { release, toolkit } = await storeRelease(name);
    await ask(name, { releaseImage: release, pushBuiltImage: true });
    const job = await world.activeJob(name, 'build');
    expect(argumentsOf(job)).toContain(`--build-arg=DTK_AUTO=${toolkit}`);
    await eventually(name, (status) => {
      expect(status?.modules).toMatchObject([{ namespace: name, verificationStatus: 'InProgress' }]);
    });
    await world.build(job, '1', `opt/lib/modules/${kernel}/hello.ko`);
    await eventually(name, (status) => {
      expect(status?.conditions).toContainEqual(
        expect.objectContaining({ type: 'Ready', status: 'True', reason: 'Verified' }),
      );
      expect(status?.crStatuses).toMatchObject({ driver: { verificationStatus: 'True' } });
      expect(status?.observedGeneration).toBe(1);
    });
    const { metadata, spec } = await world.client.get(preflightValidations, { name });
    expect(spec).toEqual({ kernelVersion: kernel, pushBuiltImage: true });
    expect(metadata.ownerReferences).toMatchObject([{ kind: 'PreflightValidationOCP', name }]);
  });

  it('checks the real-time kernel where it is asked for, and follows changes of its spec', async () => {
    const name = 'real-time';
    await applyModule(name);
    const { release, toolkit } = await storeRelease(name);
    await ask(name, { releaseImage: release, useRTKernel: true });
    const kernelOf = async (): Promise<unknown> =>
      (await world.client.get(preflightValidations, { name })).spec;
    await vi.waitFor(
      async () => expect(await kernelOf()).toMatchObject({ kernelVersion: realTimeKernel }),
      waiting,
    );
    await ask(name, { kernelVersion: '6.9.9', dtkImage: 'registry.example/toolkit:9' });
    await vi.waitFor(async () => expect(await kernelOf()).toMatchObject({ kernelVersion: '6.9.9' }), waiting);
    await vi.waitFor(async () => {
      const builds = (await world.jobs(name)).map(argumentsOf);
      expect(builds).toHaveLength(1);
      expect(builds[0]).toContain('--build-arg=DTK_AUTO=registry.example/toolkit:9');
    }, waiting);
    await ask(name, { kernelVersion: '6.9.9' });
    await eventually(name, (status) => {
      expect(status?.modules).toMatchObject([
        { verificationStatus: 'Failure', statusReason: expect.stringContaining('6.9.9') },
      ]);
    });
    expect(toolkit).toContain('@sha256:');
  });

  it('says what is wrong with a release, and with a name that is taken', async () => {
    const plain = await store(world.image('plain/image:1'), withParents('etc/os-release', 'x'));
    const problems = {
      plain: { spec: { releaseImage: plain }, reason: 'NotARelease' },
      absent: { spec: { releaseImage: world.image('plain/absent:1') }, reason: 'NotFound' },
      hostile: { spec: { kernelVersion: '../..' }, reason: 'InvalidKernelVersion' },
      taken: { spec: { kernelVersion: kernel }, reason: 'NameTaken' },
    };
    const theirs = { metadata: { name: 'taken' }, spec: { kernelVersion: '1.2.3' } };
    await world.client.create(preflightValidations, theirs);
    await vi.waitFor(async () => {
      const { status } = await world.client.get(preflightValidations, { name: 'taken' });
      expect(status).toBeDefined();
    }, waiting);
    for (const [name, { spec, reason }] of Object.entries(problems)) {
      await ask(name, spec);
      await eventually(name, (status) => {
        expect(status?.conditions).toContainEqual(
          expect.objectContaining({ type: 'Ready', status: 'False', reason }),
        );
      });
    }
    expect((await world.client.get(preflightValidations, { name: 'taken' })).spec).toEqual({
      kernelVersion: '1.2.3',
    });
  });
});
