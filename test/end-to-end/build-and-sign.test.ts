import { afterAll, beforeAll, expect, it } from 'vitest';
import { Informer } from '../../src/controller/runtime/cache/informer.ts';
import { events } from '../../src/controller/runtime/event-recorder.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import { modules, type Pod } from '../../src/controller/observe/cluster/resources.ts';
import { parseModule } from '../../src/api/module/module.ts';
import { inspectImage } from '../../src/signer/inspect-image.ts';
import { eventually } from '../cluster/wait-for.ts';
import { imageOf } from '../controller/module/cluster-objects.ts';
import { kernelRelease, nextKernel } from '../support/debian-kernel.ts';
import { describeWith } from '../support/programs.ts';
import type { TestNode } from '../support/cluster/kubelet.ts';
import type { OperatorProcess } from './operator-process.ts';
import { operatorWorldPrograms, startOperatorWorld, type OperatorWorld } from './operator-world.ts';

const name = 'example-module';
/** Short, since a killed operator gives its Lease to nobody. */
const leaderElection = { leaseDuration: '6s', renewDeadline: '5s', retryPeriod: '500ms' };
const readyLabel = `kmm.node.kubernetes.io/default.${name}.ready`;
const driver = 'example/minimal-driver';
const moduleFile = `/opt/lib/modules/${kernelRelease}/hello.ko`;

describeWith(operatorWorldPrograms, 'a Module that is built by Buildah and signed', () => {
  let world: OperatorWorld;
  let operator: OperatorProcess;
  let nodes: readonly TestNode[];
  let stopWatching: () => Promise<void>;
  const phases: string[] = [];

  beforeAll(async () => {
    world = await startOperatorWorld();
    nodes = await Promise.all(
      ['worker-0', 'worker-1'].map((node) => world.kubelet.addNode({ name: node, kernel: kernelRelease })),
    );
    stopWatching = await watchPhases();
    operator = await world.startOperator({ leaderElection });
  });
  afterAll(async () => {
    await stopWatching?.();
    await world?.[Symbol.asyncDispose]();
  });

  /** Writes down each phase that the Module's first kernel comes to. */
  async function watchPhases(): Promise<() => Promise<void>> {
    const stop = new AbortController();
    const informer = new Informer({ client: world.client, resource: modules, project: parseModule });
    informer.onEvent((event) => {
      if (event.type === 'deleted' || event.object.metadata.name !== name) return;
      const phase = event.object.status?.kernels?.[0]?.phase;
      if (phase !== undefined && phases.at(-1) !== phase) phases.push(phase);
    });
    const running = informer.run(stop.signal);
    await informer.waitForSync(stop.signal);
    return async () => {
      stop.abort();
      await running;
    };
  }

  async function kill(): Promise<void> {
    await operator.process.stop('SIGKILL');
    operator = await world.startOperator({ leaderElection });
  }

  it('is built, signed and loaded, though the operator is killed while Jobs run', async () => {
    await world.applyManifest('build-and-sign');
    await world.eventually(name, ({ status }) => expect(status?.kernels?.[0]?.phase).toBe('Building'));
    await kill();
    await world.eventually(name, ({ status }) => expect(status?.kernels?.[0]?.phase).toBe('Signing'));
    await kill();
    const { status } = await world.eventually(name, (module) => {
      expect(module.status?.conditions).toContainEqual(
        expect.objectContaining({ type: 'Ready', status: 'True', reason: 'Loaded' }),
      );
    });
    const signed = await world.repository(driver).getManifest({ tag: kernelRelease });
    const unsigned = await world
      .repository(driver)
      .getManifest({ tag: `${kernelRelease}-default_${name}_kmm_unsigned` });
    expect(status?.kernels).toMatchObject([
      {
        kernelVersion: kernelRelease,
        architecture: 'amd64',
        nodes: 2,
        phase: 'Ready',
        reason: 'Signed',
        digest: signed.raw.digest,
        unsignedDigest: unsigned.raw.digest,
      },
    ]);
    const all = { nodesMatchingSelectorNumber: 2, desiredNumber: 2, availableNumber: 2 };
    expect(status).toMatchObject({ moduleLoader: all, devicePlugin: all });
    expect(phases.filter((phase) => phase !== 'Checking' && phase !== 'Pending')).toEqual([
      'Building',
      'Signing',
      'Ready',
    ]);
  });

  it('is in the registry, signed by the key of the Secret', async () => {
    const image = { repository: world.repository(driver), selector: { tag: kernelRelease } };
    const { worst, platforms } = await inspectImage({ image, certificates: [world.key.x509] });
    expect(worst).toBe('trusted');
    expect(platforms[0]?.modules).toMatchObject([{ path: moduleFile }]);
  });

  it('took one Job each', async () => {
    const kinds = (await world.jobs(name)).map(
      ({ metadata, status }) =>
        `${metadata.labels?.['kmm.node.kubernetes.io/job-type']} ${status?.succeeded}`,
    );
    expect(kinds.toSorted()).toEqual(['build 1', 'sign 1']);
  });

  it('shows in kubectl how it stands', async () => {
    const lines = (await world.kubectl(['get', 'module', name])).trimEnd().split('\n');
    const words = lines.map((line) => line.split(/\s+/));
    expect(words).toEqual([
      ['NAME', 'READY', 'REASON', 'DESIRED', 'AVAILABLE', 'AGE'],
      [name, 'True', 'Loaded', '2', '2', expect.any(String)],
    ]);
  });

  it('runs on the nodes by digest, and they say so before the device plugin starts', async () => {
    const { status } = await world.module(name);
    const { digest } = status?.kernels?.[0] ?? {};
    const loaders = await world.pods(name, 'module-loader');
    const plugins = await world.pods(name, 'device-plugin');
    for (const node of nodes) {
      expect(await world.nodeLabels(node.name)).toMatchObject({ [readyLabel]: '' });
      expect(node.loaded().get('hello')).toMatchObject({
        file: moduleFile,
        signer: 'Example kernel module signing key',
      });
      const on = ({ spec }: Pod): boolean => spec?.nodeName === node.name;
      const [loader, plugin] = [loaders.find(on), plugins.find(on)];
      expect(imageOf(loader?.spec)).toBe(`${world.registry.host}/${driver}@${digest}`);
      const loaded = String(loader?.status?.containerStatuses?.[0]?.state?.running?.startedAt);
      expect(Date.parse(String(plugin?.metadata.creationTimestamp))).toBeGreaterThanOrEqual(
        Date.parse(loaded),
      );
    }
  });

  it('tells of each step by events', async () => {
    const told = (await listAll(world.client, events, { namespace: 'default' }))
      .filter(({ regarding }) => regarding?.kind === 'Module')
      .map(({ reason }) => reason);
    expect(told).toEqual(expect.arrayContaining(['SignSucceeded', 'ImageReady']));
  });

  it('is measured', async () => {
    const lines = (await operator.metrics()).split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        'kmm_module_num 1',
        'kmm_in_cluster_build_num 1',
        'kmm_in_cluster_sign_num 1',
        'kmm_device_plugin_num 1',
        'kmm_job_duration_seconds_count{kind="sign"} 1',
        expect.stringMatching(/^controller_runtime_reconcile_total\{.*controller="module".*\} [1-9]/),
        expect.stringMatching(/^kmm_image_check_duration_seconds_count\{.*\} [1-9]/),
      ]),
    );
  });

  it('follows a node to another kernel, and leaves the old one when no node runs it', async () => {
    const [stays, moves] = nodes;
    const kernelsOf = async (): Promise<string[]> =>
      (await world.daemonSets(name)).flatMap(
        ({ metadata }) => metadata.labels?.['kmm.node.kubernetes.io/kernel-version.full'] ?? [],
      );
    await moves?.reboot(nextKernel);
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels).toMatchObject([
        { kernelVersion: kernelRelease, nodes: 1, phase: 'Ready' },
        { kernelVersion: nextKernel, nodes: 1, phase: 'Ready', reason: 'ImageFound' },
      ]);
      expect(status?.moduleLoader?.availableNumber).toBe(2);
      expect(status?.devicePlugin?.availableNumber).toBe(2);
    });
    expect((await kernelsOf()).toSorted()).toEqual([kernelRelease, nextKernel]);
    expect(moves?.loaded().get('hello')?.file).toBe(`/opt/lib/modules/${nextKernel}/hello.ko`);
    expect(await world.nodeLabels(moves?.name ?? '')).toMatchObject({ [readyLabel]: '' });

    await stays?.reboot(nextKernel);
    await world.eventually(name, ({ status }) => {
      expect(status?.kernels).toMatchObject([{ kernelVersion: nextKernel, nodes: 2, phase: 'Ready' }]);
      expect(status?.moduleLoader?.availableNumber).toBe(2);
    });
    await eventually(async () => expect(await kernelsOf()).toEqual([nextKernel]));
  });

  it('is unloaded when it is deleted, and nothing of it stays', async () => {
    await world.kubectl(['delete', 'module', name]);
    await eventually(async () => {
      expect([await world.daemonSets(name), await world.jobs(name)]).toEqual([[], []]);
      for (const node of nodes) {
        expect(node.loaded().size).toBe(0);
        expect(await world.nodeLabels(node.name)).not.toHaveProperty([readyLabel]);
      }
    });
  });
});
