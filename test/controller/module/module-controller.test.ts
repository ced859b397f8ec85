import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { configMaps, jobs, modules, nodes } from '../../../src/controller/observe/cluster/resources.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { createNode, endJob, imageOf, reasonsOf, setNodeInfo } from './cluster-objects.ts';
import { argumentsOf, modulePath, startModuleWorld, type ModuleWorld } from './module-world.ts';

const kernel = '6.1.0-13-amd64';

describeWith(apiServerPrograms, 'the Module controller', () => {
  let world: ModuleWorld;
  beforeAll(async () => {
    world = await startModuleWorld();
    await world.startController();
  });
  afterAll(() => world[Symbol.asyncDispose]());

  const build = { dockerfileConfigMap: { name: 'build' } };
  const sign = { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } };

  it('runs an image that exists, pinned by its digest, and builds nothing', async () => {
    const name = 'prebuilt';
    await world.namespaceWithNode(name, kernel);
    const digest = await world.push(world.image(`${name}:${kernel}`));
    await world.apply(name, world.spec(name, { build }));
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels).toMatchObject([{ kernelVersion: kernel, phase: 'Ready', digest, nodes: 1 }]);
    });
    const [daemonSet, ...others] = await world.daemonSets(name);
    expect(others).toEqual([]);
    expect(imageOf(daemonSet?.spec?.template.spec)).toBe(`${world.image(name)}@${digest}`);
    expect(await world.jobs(name)).toEqual([]);
  });

  it('builds, then signs from the intermediate image, and runs what carries the signature', async () => {
    const name = 'built';
    await world.namespaceWithNode(name, kernel);
    await world.apply(name, world.spec(name, { build, sign }));
    const buildJob = await world.activeJob(name, 'build');
    const final = world.image(`${name}:${kernel}`);
    expect(argumentsOf(buildJob)).toContain(`--destination=${final}-${name}_driver_kmm_unsigned`);
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels).toMatchObject([{ phase: 'Building', job: buildJob.metadata.name }]);
      expect(status?.conditions).toContainEqual(
        expect.objectContaining({ type: 'Progressing', status: 'True', reason: 'BuildRunning' }),
      );
    });
    const unsignedDigest = await world.build(buildJob);
    const signJob = await world.activeJob(name, 'sign');
    expect(argumentsOf(signJob).slice(-2)).toEqual([`${world.image(name)}@${unsignedDigest}`, final]);
    expect(await world.daemonSets(name)).toEqual([]);
    await world.sign(signJob);
    const { status } = await world.eventually(name, (module) => {
      expect(module.status?.kernels).toMatchObject([{ phase: 'Ready', reason: 'Signed', unsignedDigest }]);
    });
    const digest = status?.kernels?.[0]?.digest;
    expect(digest).not.toBe(unsignedDigest);
    await vi.waitFor(async () => {
      const [daemonSet] = await world.daemonSets(name);
      expect(imageOf(daemonSet?.spec?.template.spec)).toBe(`${world.image(name)}@${digest}`);
      expect(await world.jobs(name)).toEqual([]);
    });
    const expected = ['BuildCreated', 'BuildSucceeded', 'SignCreated', 'SignSucceeded', 'ImageReady'];
    await world.events(name, (events) => expect(reasonsOf(events)).toEqual(expect.arrayContaining(expected)));
  });

  it('signs what was built before there was a sign section', async () => {
    const name = 'sign-later';
    await world.namespaceWithNode(name, kernel);
    const unsigned = await world.push(world.image(`${name}:${kernel}`));
    await world.apply(name, world.spec(name, { build }));
    await world.eventually(name, ({ status }) => expect(status?.kernels?.[0]?.digest).toBe(unsigned));
    await world.apply(name, world.spec(name, { build, sign }));
    const job = await world.activeJob(name, 'sign');
    expect(argumentsOf(job).at(-2)).toBe(`${world.image(name)}@${unsigned}`);
    await world.sign(job);
    await world.eventually(name, ({ status }) => expect(status?.kernels?.[0]?.reason).toBe('Signed'));
    await vi.waitFor(async () => expect(await world.jobs(name)).toEqual([]), 20_000);
  });

  it('does not take a Job’s word for a signature, and keeps what is wrongly signed from nodes', async () => {
    const name = 'wrong-key';
    await world.namespaceWithNode(name, kernel);
    await world.push(world.image(`${name}:vendor`));
    const vendor = { ...sign, unsignedImage: world.image(`${name}:vendor`) };
    await world.apply(name, world.spec(name, { sign: vendor }));
    await world.sign(await world.activeJob(name, 'sign'), world.otherKey);
    const { status } = await world.eventually(name, (module) => {
      expect(module.status?.kernels?.[0]).toMatchObject({ phase: 'Failed', reason: 'VerificationFailed' });
    });
    expect(status?.kernels?.[0]?.message).toContain('hello.ko');
    expect(await world.daemonSets(name)).toEqual([]);
  });

  it('signs anew when the certificate changes, and builds anew when the Dockerfile does', async () => {
    const name = 'changes';
    await world.namespaceWithNode(name, kernel);
    await world.apply(name, world.spec(name, { build, sign }));
    await world.build(await world.activeJob(name, 'build'));
    await world.sign(await world.activeJob(name, 'sign'));
    const before = await world.eventually(name, ({ status }) => {
      expect(status?.kernels?.[0]?.phase).toBe('Ready');
    });
    await vi.waitFor(async () => expect(await world.jobs(name)).toEqual([]), 20_000);
    await vi.waitFor(async () => expect(await world.jobs(name)).toEqual([]), 20_000);
    const second = { keySecret: { name: 'signing-2' }, certSecret: { name: 'signing-2' } };
    await world.apply(name, world.spec(name, { build, sign: second }));
    const signJob = await world.activeJob(name, 'sign');
    expect((await world.jobs(name)).length).toBe(1);
    await world.sign(signJob, world.otherKey);
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels?.[0]).toMatchObject({ phase: 'Ready' });
      expect(status?.kernels?.[0]?.digest).not.toBe(before.status?.kernels?.[0]?.digest);
    });

    const running = imageOf((await world.daemonSets(name))[0]?.spec?.template.spec);
    await world.client.patch(
      configMaps,
      { namespace: name, name: 'build' },
      { data: { dockerfile: 'FROM scratch\nLABEL changed=yes\n' } },
    );
    const rebuild = await world.activeJob(name, 'build');
    expect(imageOf((await world.daemonSets(name))[0]?.spec?.template.spec)).toBe(running);
    await world.build(rebuild, '2');
    await world.sign(await world.activeJob(name, 'sign'), world.otherKey);
    await vi.waitFor(async () => {
      const image = imageOf((await world.daemonSets(name))[0]?.spec?.template.spec);
      expect(image).not.toBe(running);
      expect(await world.jobs(name)).toEqual([]);
    }, 20_000);
  });

  it('tries a Job that failed again, then gives up, and starts anew when it is told to', async () => {
    const name = 'failing';
    await world.namespaceWithNode(name, kernel);
    await world.apply(name, world.spec(name, { build }));
    const first = await world.activeJob(name, 'build');
    await endJob(world.client, first, 'Failed');
    const second = await world.activeJob(name, 'build');
    expect(second.metadata.name).not.toBe(first.metadata.name);
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels?.[0]).toMatchObject({ phase: 'Building', attempts: 1 });
    });
    await endJob(world.client, second, 'Failed');
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels?.[0]).toMatchObject({ phase: 'Failed', reason: 'BuildFailed', attempts: 2 });
      expect(status?.conditions).toContainEqual(
        expect.objectContaining({ type: 'Degraded', status: 'True' }),
      );
    });
    expect((await world.jobs(name)).length).toBe(2);
    await world.apply(name, world.spec(name, { build }), { 'kmm.sigs.x-k8s.io/retry': '1' });
    await world.build(await world.activeJob(name, 'build'));
    await world.eventually(name, ({ status }) => expect(status?.kernels?.[0]?.phase).toBe('Ready'));
    await vi.waitFor(async () => expect(await world.jobs(name)).toEqual([]), 20_000);
  });

  it('says what is missing, and goes on when it comes', async () => {
    const name = 'missing';
    await world.namespaceWithNode(name, kernel);
    await world.client.delete(configMaps, { namespace: name, name: 'build' });
    await world.apply(name, world.spec(name, { build }));
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels?.[0]).toMatchObject({ phase: 'Failed', reason: 'DockerfileMissing' });
      expect(status?.kernels?.[0]?.message).toContain('missing/build');
    });
    await world.client.create(configMaps, {
      metadata: { namespace: name, name: 'build' },
      data: { dockerfile: 'FROM scratch\n' },
    });
    await world.activeJob(name, 'build');
  });

  it('never builds because the registry is in trouble', async () => {
    const name = 'trouble';
    await world.namespaceWithNode(name, kernel);
    const container = { build, containerImage: `127.0.0.1:1/${name}:\${KERNEL_FULL_VERSION}` };
    await world.apply(name, world.spec(name, container));
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels?.[0]?.phase).toBe('Checking');
      expect(status?.conditions).toContainEqual(
        expect.objectContaining({ type: 'Degraded', status: 'True' }),
      );
    });
    expect(await world.jobs(name)).toEqual([]);
  });

  it('lets one kernel fail alone, and collects what belongs to kernels that are gone', async () => {
    const name = 'kernels';
    await world.namespaceWithNode(name, kernel);
    await createNode(world.client, { name: `${name}-2`, kernel: '6.2.0', labels: { for: name } });
    const digest = await world.push(world.image(`${name}:${kernel}`));
    await world.push(world.image(`${name}:6.3.0`));
    await world.apply(name, world.spec(name, {}));
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels).toMatchObject([
        { kernelVersion: kernel, phase: 'Ready', digest },
        { kernelVersion: '6.2.0', phase: 'Failed', reason: 'ImageNotFound' },
      ]);
      expect(status?.moduleLoader).toEqual({
        nodesMatchingSelectorNumber: 2,
        desiredNumber: 2,
        availableNumber: 0,
      });
    });
    await setNodeInfo(world.client, { name, kernel: '6.3.0' });
    await vi.waitFor(async () => {
      const kernels = (await world.daemonSets(name)).map(
        ({ metadata }) => metadata.labels?.['kmm.node.kubernetes.io/kernel-version.full'],
      );
      expect(kernels).toEqual(['6.3.0']);
    }, 20_000);
  });

  it('signs an image that serves several kernels once, with the files of all', async () => {
    const name = 'shared';
    await world.namespaceWithNode(name, kernel);
    await createNode(world.client, { name: `${name}-2`, kernel: '6.2.0', labels: { for: name } });
    await world.push(world.image(`${name}:vendor`));
    const vendor = {
      ...sign,
      unsignedImage: world.image(`${name}:vendor`),
      filesToSign: [`/${modulePath}`, '/opt/lib/modules/${KERNEL_FULL_VERSION}/*.ko'],
    };
    await world.apply(
      name,
      world.spec(name, { sign: vendor, containerImage: world.image(`${name}:signed`) }),
    );
    const job = await world.activeJob(name, 'sign');
    expect(argumentsOf(job)).toEqual(
      expect.arrayContaining([
        `--file=/opt/lib/modules/${kernel}/*.ko`,
        '--file=/opt/lib/modules/6.2.0/*.ko',
      ]),
    );
    expect((await world.jobs(name)).length).toBe(1);
    await endJob(world.client, job, 'Failed');
    await world.eventually(name, ({ status }) => {
      const failed = { attempts: 1, image: world.image(`${name}:signed`) };
      expect(status?.kernels).toMatchObject([failed, failed]);
    });
  });

  it('does not build an image for one kernel that others are to run as well', async () => {
    const name = 'one-tag';
    await world.namespaceWithNode(name, kernel);
    await createNode(world.client, { name: `${name}-2`, kernel: '6.2.0', labels: { for: name } });
    await world.apply(name, world.spec(name, { build, containerImage: world.image(`${name}:latest`) }));
    await world.eventually(name, ({ status }) => {
      const failed = { phase: 'Failed', reason: 'SeveralKernels' };
      expect(status?.kernels).toMatchObject([failed, failed]);
    });
    expect(await world.jobs(name)).toEqual([]);
  });

  it('leaves modules where they are when a node gets a taint', async () => {
    const name = 'tainted';
    await world.namespaceWithNode(name, kernel);
    await world.push(world.image(`${name}:${kernel}`));
    await world.apply(name, world.spec(name, {}));
    await vi.waitFor(async () => expect((await world.daemonSets(name)).length).toBe(1), 20_000);
    const taints = [{ key: 'maintenance', effect: 'NoSchedule' }];
    await world.client.patch(nodes, { name }, { spec: { taints } });
    await world.eventually(name, ({ status }) => {
      expect(status?.moduleLoader?.nodesMatchingSelectorNumber).toBe(0);
    });
    expect((await world.daemonSets(name)).length).toBe(1);
  });

  it('names fields and mappings that have no effect', async () => {
    const name = 'idle';
    await world.namespaceWithNode(name, kernel);
    await world.push(world.image(`${name}:${kernel}`));
    const kernelMappings = [{ regexp: String.raw`^.+\fc37\.x86_64$` }, { regexp: '^.+$' }];
    const kaniko = { ...build, kanikoParams: { tag: 'debug' } };
    const annotations = { 'kmm.sigs.x-k8s.io/builder': 'buildah' };
    await world.apply(name, world.spec(name, { kernelMappings, build: kaniko }), annotations);
    await world.eventually(name, ({ status }) => {
      expect(status?.conditions).toContainEqual(
        expect.objectContaining({
          type: 'FieldsNotActedOn',
          message: expect.stringContaining('kanikoParams'),
        }),
      );
      expect(status?.conditions).toContainEqual(
        expect.objectContaining({ type: 'IdleKernelMappings', reason: 'MatchesNoKernel' }),
      );
    });
  });

  it('stops Jobs whose inputs have changed', async () => {
    const name = 'superseded';
    await world.namespaceWithNode(name, kernel);
    await world.apply(name, world.spec(name, { build }));
    const first = await world.activeJob(name, 'build');
    const changed = { ...build, buildArgs: [{ name: 'A', value: 'b' }] };
    await world.apply(name, world.spec(name, { build: changed }));
    await vi.waitFor(async () => {
      const [job, ...others] = await world.jobs(name);
      expect(others).toEqual([]);
      expect(job?.metadata.name).not.toBe(first.metadata.name);
    }, 20_000);
    await world.client.delete(modules, { namespace: name, name: 'driver' });
    const [left] = await world.jobs(name);
    // What a Module owns is collected by the cluster's garbage collector, which does not run here.
    expect(left?.metadata.ownerReferences?.[0]).toMatchObject({ kind: 'Module', controller: true });
    await world.client.delete(jobs, left?.metadata ?? { name: '' });
  });
});
