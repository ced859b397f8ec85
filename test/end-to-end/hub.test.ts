import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { daemonSets, jobs, modules, nodes, pods } from '../../src/controller/observe/cluster/resources.ts';
import { managedClusters } from '../../src/controller/hub/fleet/managed-clusters.ts';
import { manifestWorks } from '../../src/controller/hub/fleet/manifest-works.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import { events } from '../../src/controller/runtime/event-recorder.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../src/shared/temporary.ts';
import { extractModules } from '../../src/signer/extract-image.ts';
import { runProgram } from '../cli/run-program.ts';
import { eventually } from '../cluster/wait-for.ts';
import { contentOf } from '../controller/hub/hub-world.ts';
import { imageOf as imageOfPod } from '../controller/module/cluster-objects.ts';
import { kernelRelease, nextKernel } from '../support/debian-kernel.ts';
import type { TestNode } from '../support/cluster/kubelet.ts';
import { sha256 } from '../support/images.ts';
import { describeWith, requireProgram } from '../support/programs.ts';
import { documentExample } from './document-examples.ts';
import {
  hubAndSpokePrograms,
  spokeName,
  spokeNamespace,
  startHubAndSpoke,
  type HubAndSpoke,
} from './hub-and-spoke.ts';
import type { OperatorProcess } from './operator-process.ts';
import { writeCredentials } from './private-registry.ts';
import { watchJobs, type WatchedJobs } from './watch-jobs.ts';

const name = 'example-module';
const driver = 'example/fleet-driver';
/** Short, since a killed operator gives its Lease to nobody. */
const leaderElection = { leaseDuration: '6s', renewDeadline: '5s', retryPeriod: '500ms' };
/** Milliseconds: a build, and leaders that follow others. */
const patience = 150_000;
const readyLabel = `kmm.node.kubernetes.io/${spokeNamespace}.${name}.ready`;
const fileOf = (kernel: string): string => `/opt/lib/modules/${kernel}/hello.ko`;
const unsignedTag = `${kernelRelease}-kmm_unsigned`;

describeWith([...hubAndSpokePrograms, 'sign-file', 'modinfo'], 'a ManagedClusterModule', () => {
  let world: HubAndSpoke;
  let operator: OperatorProcess;
  let directory: TemporaryDirectory;
  let workers: readonly TestNode[];
  let hubJobs: WatchedJobs;
  let spokeJobs: WatchedJobs;

  beforeAll(async () => {
    directory = await createTemporaryDirectory();
    world = await startHubAndSpoke();
    await world.hub.kubelet.addNode({ name: 'builder-0', kernel: '6.12.0-hub' });
    const addNode = (node: string): Promise<TestNode> =>
      world.spoke.kubelet.addNode({ name: node, kernel: kernelRelease });
    workers = await Promise.all(['worker-0', 'worker-1'].map(addNode));
    hubJobs = await watchJobs(world.hub.client);
    spokeJobs = await watchJobs(world.spoke.client);
    await world.startSpokeOperator();
    operator = await world.startHubOperator({ leaderElection });
  });
  afterAll(async () => {
    await hubJobs?.[Symbol.asyncDispose]();
    await spokeJobs?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  async function kill(): Promise<void> {
    await operator.process.stop('SIGKILL');
    operator = await world.startHubOperator({ leaderElection });
  }

  async function inPhase(phase: string): Promise<void> {
    await world.eventually(name, ({ status }) => expect(status?.images?.[0]?.phase).toBe(phase));
  }

  /** The images that a cluster's ManifestWork names for kernels. */
  async function sentTo(cluster: string): Promise<ReturnType<typeof contentOf>> {
    return contentOf(await world.hub.client.get(manifestWorks, { namespace: cluster, name }));
  }

  const digestOf = async (tag: string): Promise<string> =>
    (await world.repository(driver).getManifest({ tag })).raw.digest;
  const imageOf = async (tag: string): Promise<string> =>
    `${world.registry.host}/${driver}@${await digestOf(tag)}`;

  async function expectLoaded(node: TestNode | undefined, kernel: string): Promise<void> {
    expect(node?.loaded().get('hello')).toMatchObject({
      file: fileOf(kernel),
      signer: 'Example kernel module signing key',
    });
    const { metadata } = await world.spoke.client.get(nodes, { name: node?.name ?? '' });
    expect(metadata.labels).toMatchObject({ [readyLabel]: '' });
  }

  it(
    'is built and signed once on the hub, though its operator is killed while Jobs run',
    async () => {
      await world.applyOnHub('managed-cluster-module');
      await inPhase('Building');
      await kill();
      await inPhase('Signing');
      await kill();
      const { status } = await world.eventually(name, (module) => {
        expect(module.status?.phases).toEqual({ Ready: 1 });
      });
      expect(status).toMatchObject({
        numberDesired: 1,
        numberApplied: 1,
        numberDegraded: 0,
        images: [
          {
            kernelVersion: kernelRelease,
            phase: 'Ready',
            reason: 'Signed',
            digest: await digestOf(kernelRelease),
          },
        ],
      });
      expect([hubJobs.kinds(), spokeJobs.kinds()]).toEqual([['build', 'sign'], []]);
    },
    patience,
  );

  it('goes to the spoke with the digest of what was signed', async () => {
    const { images, text } = await sentTo(spokeName);
    expect(images).toEqual([await imageOf(kernelRelease)]);
    expect(text).not.toMatch(/"(?:build|sign)"/);
  });

  it('is loaded on the nodes of the spoke, from that very digest', async () => {
    const loaders = (await listAll(world.spoke.client, pods, { namespace: spokeNamespace })).filter(
      ({ metadata }) => metadata.labels?.['kmm.node.kubernetes.io/role'] === 'module-loader',
    );
    const image = await imageOf(kernelRelease);
    expect(loaders.map(({ spec }) => imageOfPod(spec))).toEqual([image, image]);
    for (const worker of workers) await expectLoaded(worker, kernelRelease);
  });

  it('shows in kubectl on the hub how it stands', async () => {
    const lines = (await world.hub.kubectl(['get', 'managedclustermodule', name])).trimEnd().split('\n');
    expect(lines.map((line) => line.split(/\s+/))).toEqual([
      ['NAME', 'READY', 'REASON', 'DESIRED', 'APPLIED', 'DEGRADED', 'AGE'],
      [name, 'True', 'AllClustersReady', '1', '1', '0', expect.any(String)],
    ]);
  });

  /** Extracts the module of an image. Gives the file. */
  async function extract(tag: string, kernel: string): Promise<string> {
    const image = { repository: world.repository(driver), selector: { tag } };
    const folder = join(directory.path, tag);
    await mkdir(folder, { recursive: true });
    await extractModules({ image, directory: folder });
    return join(folder, fileOf(kernel));
  }

  it('has modules that kmm-sign verifies, and that are as sign-file would have signed them', async () => {
    const { certificate, key } = world.key;
    const env = {
      KMM_SIGN_AUTHFILE: await writeCredentials(directory.path, world.registry.host),
      KMM_SIGN_PLAIN_HTTP: 'true',
    };
    const image = await imageOf(kernelRelease);
    const verified = await runProgram(['verify', image, '--cert', certificate], { env });
    expect(verified).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(fileOf(kernelRelease)) });

    const signed = await readFile(await extract(kernelRelease, kernelRelease));
    const unsigned = await extract(unsignedTag, kernelRelease);
    await promisify(execFile)(requireProgram('sign-file'), ['sha256', key, certificate, unsigned]);
    expect(signed.equals(await readFile(unsigned))).toBe(true);
    expect(workers[0]?.loaded().get('hello')?.sha256).toBe(sha256(signed));
  });

  it('goes to a further cluster with the same kernel without being built again, until it is not selected', async () => {
    const cluster = 'spoke-2';
    await world.addCluster(cluster, { 'wants-example-module': 'true' });
    const { status } = await world.hub.client.get(managedClusters, { name: spokeName });
    const { client } = world.hub;
    await client.patch(managedClusters, { name: cluster }, { status }, { subresource: 'status' });
    await eventually(async () => {
      expect((await sentTo(cluster)).images).toEqual([await imageOf(kernelRelease)]);
    });
    await world.eventually(name, (module) =>
      expect(module.status?.phases).toEqual({ Applying: 1, Ready: 1 }),
    );
    expect(hubJobs.kinds()).toEqual(['build', 'sign']);
    await world.hub.kubectl(['label', 'managedcluster', cluster, 'wants-example-module-']);
    await eventually(async () => {
      expect(await listAll(client, manifestWorks, { namespace: cluster })).toEqual([]);
    });
  });

  it(
    'is built and signed for a kernel that a node of the spoke boots',
    async () => {
      const [stays, moves] = workers;
      await moves?.reboot(nextKernel);
      await world.eventually(name, ({ status }) => {
        expect(status?.images).toMatchObject([
          { kernelVersion: kernelRelease, phase: 'Ready' },
          { kernelVersion: nextKernel, phase: 'Ready', reason: 'Signed' },
        ]);
        expect(status?.phases).toEqual({ Ready: 1 });
      });
      expect((await sentTo(spokeName)).images).toEqual([
        await imageOf(kernelRelease),
        await imageOf(nextKernel),
      ]);
      await eventually(async () => {
        await expectLoaded(moves, nextKernel);
        await expectLoaded(stays, kernelRelease);
      });
      expect([hubJobs.kinds(), spokeJobs.kinds()]).toEqual([['build', 'build', 'sign', 'sign'], []]);
      const module = await extract(nextKernel, nextKernel);
      const { stdout } = await promisify(execFile)(requireProgram('modinfo'), ['-F', 'vermagic', module]);
      expect(stdout).toMatch(new RegExp(`^${nextKernel} `));
    },
    patience,
  );

  it('tells of each step by events on the hub', async () => {
    const steps = ['BuildCreated', 'BuildSucceeded', 'SignCreated', 'SignSucceeded', 'ImageReady'];
    await eventually(async () => {
      const told = (await listAll(world.hub.client, events, { namespace: 'default' }))
        .filter(({ regarding, note }) => regarding?.name === name && note?.includes(nextKernel))
        .map(({ reason }) => reason);
      expect(told.toSorted()).toEqual(steps.toSorted());
    });
  });

  it('is measured on the hub', async () => {
    const lines = (await operator.metrics()).split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        'kmm_managedclustermodule_num 1',
        'kmm_hub_managed_cluster_num 2',
        'kmm_hub_waiting_job_num 0',
        'kmm_job_duration_seconds_count{kind="build"} 1',
      ]),
    );
  });

  it('leaves no Jobs on the hub', async () => {
    await eventually(async () => expect(await listAll(world.hub.client, jobs, {})).toEqual([]));
  });

  it('reaches the spoke as the documents have it, without a module to load', async () => {
    const { hub, spoke } = world;
    await spoke.kubectl(['create', 'namespace', 'some-namespace']);
    await hub.kubectl(['label', 'managedcluster', spokeName, 'wants-my-mcm=true']);
    const example = documentExample('upstream/managed-cluster-module.yaml');
    await hub.kubectl(['apply', '--filename=-'], JSON.stringify(example));
    await world.eventually('my-mcm', ({ status }) => expect(status?.phases).toEqual({ Ready: 1 }));
    const module = await spoke.client.get(modules, { namespace: 'some-namespace', name: 'my-mcm' });
    expect(module.spec).toEqual({ selector: { 'node-wants-my-mcm': 'true' } });
    await hub.kubectl(['delete', 'managedclustermodule', 'my-mcm']);
  });

  it('is gone from the spoke when it is deleted on the hub', async () => {
    await world.hub.kubectl(['delete', 'managedclustermodule', name]);
    const { hub, spoke } = world;
    await eventually(async () => {
      expect(await listAll(hub.client, manifestWorks, {})).toEqual([]);
      expect(await listAll(spoke.client, modules, {})).toEqual([]);
      expect(await listAll(spoke.client, daemonSets, {})).toEqual([]);
      for (const worker of workers) {
        expect(worker.loaded().size).toBe(0);
        const { metadata } = await spoke.client.get(nodes, { name: worker.name });
        expect(metadata.labels).not.toHaveProperty([readyLabel]);
      }
    });
  });
});
