import { afterAll, beforeAll, expect, it } from 'vitest';
import { configMaps } from '../../src/controller/observe/cluster/resources.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import { events } from '../../src/controller/runtime/event-recorder.ts';
import { inspectImage } from '../../src/signer/inspect-image.ts';
import { eventually } from '../cluster/wait-for.ts';
import { kernelRelease } from '../support/debian-kernel.ts';
import { describeWith } from '../support/programs.ts';
import type { TestNode } from '../support/cluster/kubelet.ts';
import { pushSmallImage } from './images.ts';
import { operatorWorldPrograms, startOperatorWorld, type OperatorWorld } from './operator-world.ts';

describeWith([...operatorWorldPrograms, 'kaniko'], 'a Module', () => {
  let world: OperatorWorld;
  let nodes: readonly TestNode[];

  beforeAll(async () => {
    world = await startOperatorWorld();
    nodes = await Promise.all(
      ['worker-0', 'worker-1'].map((node) => world.kubelet.addNode({ name: node, kernel: kernelRelease })),
    );
    await world.startOperator();
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
  });

  /** Waits until all nodes have a Module. */
  async function loaded(name: string): Promise<void> {
    await world.eventually(name, ({ status }) => {
      expect(status?.conditions).toContainEqual(
        expect.objectContaining({ type: 'Ready', status: 'True', reason: 'Loaded' }),
      );
    });
  }

  /** What the modules of a signed image are worth. */
  async function trust(repository: string, tag: string): Promise<string | null> {
    const image = { repository: world.repository(repository), selector: { tag } };
    return (await inspectImage({ image, certificates: [world.key.x509] })).worst;
  }

  async function jobKinds(name: string): Promise<string[]> {
    const jobs = await world.jobs(name);
    return jobs.map(({ metadata }) => metadata.labels?.['kmm.node.kubernetes.io/job-type'] ?? '').toSorted();
  }

  it('is built by Kaniko where an annotation says so', async () => {
    await world.applyManifest('kaniko');
    await loaded('kaniko-module');
    expect(await trust('example/kaniko-driver', kernelRelease)).toBe('trusted');
    expect(await jobKinds('kaniko-module')).toEqual(['build', 'sign']);
    const [job] = (await world.jobs('kaniko-module')).filter(({ metadata }) =>
      metadata.name.includes('build'),
    );
    expect(job?.spec?.template.spec?.containers[0]?.name).toBe('kaniko');
    await world.kubectl(['delete', 'module', 'kaniko-module']);
  });

  it("is signed from its vendor's image, and not built", async () => {
    await world.applyManifest('sign-prebuilt-image');
    await loaded('vendor-module');
    expect(await trust('example/my-driver', `${kernelRelease}-signed`)).toBe('trusted');
    expect(await trust('example/vendor-driver', kernelRelease)).toBe('unsigned');
    expect(await jobKinds('vendor-module')).toEqual(['sign']);
    await world.kubectl(['delete', 'module', 'vendor-module']);
  });

  const broken = 'broken-module';

  async function failure(text: string): Promise<string> {
    const { status } = await world.eventually(broken, (module) => {
      expect(module.status?.kernels).toMatchObject([
        { phase: 'Failed', reason: 'BuildFailed', message: expect.stringContaining(text) },
      ]);
    });
    return status?.kernels?.[0]?.message ?? '';
  }

  it('says which line of its build failed, in its status and in an event', async () => {
    await world.applyManifest('broken-build');
    const message = await failure("hello.c:12:9: error: implicit declaration of function 'print_info'");
    // Events are recorded once the status is written.
    await eventually(async () => {
      const told = (await listAll(world.client, events, { namespace: 'default' })).filter(
        ({ regarding, reason }) => regarding?.name === broken && reason === 'BuildFailed',
      );
      expect(told).toContainEqual(
        expect.objectContaining({ type: 'Warning', note: expect.stringContaining(message) }),
      );
    });
    expect(await world.kubectl(['get', 'module', broken, '--output=wide'])).toContain(message);
  });

  it('is built anew when its Dockerfile was mended, and when somebody asks for it', async () => {
    const dockerfile = { namespace: 'default', name: `${broken}-dockerfile` };
    const { data = {} } = await world.client.get(configMaps, dockerfile);
    const mended = (data['Dockerfile'] ?? '')
      .replace(/^RUN sed.*\n/m, '')
      .replace('/ubi:', '/example/runtime:');
    await world.client.patch(configMaps, dockerfile, { data: { Dockerfile: mended } });
    expect(await failure('example/runtime')).toContain('manifest unknown');

    await pushSmallImage(world.repository('example/runtime'));
    await world.kubectl(['annotate', 'module', broken, 'kmm.sigs.x-k8s.io/retry=1']);
    await loaded(broken);
    await world.kubectl(['delete', 'module', broken]);
  });

  const versioned = 'versioned-module';
  const stem = `default.${versioned}`;

  it('moves from version to version node by node, as an administrator labels them', async () => {
    const label = (node: string, version: string): Promise<string> =>
      world.kubectl([
        'label',
        'node',
        node,
        '--overwrite',
        `kmm.node.kubernetes.io/version-module.${stem}=${version}`,
      ]);
    /** The version whose pods run on each node, and which the nodes say to have. */
    const versions = async (): Promise<unknown[]> => {
      const pods = [
        ...(await world.pods(versioned, 'module-loader')),
        ...(await world.pods(versioned, 'device-plugin')),
      ];
      return Promise.all(
        nodes.map(async ({ name }) => [
          ...pods
            .filter(({ spec }) => spec?.nodeName === name)
            .map(({ metadata }) => versionOf(metadata.labels ?? {})),
          (await world.nodeLabels(name))[`kmm.node.kubernetes.io/${stem}.version.ready`],
        ]),
      );
    };
    const [old, current] = [Array(3).fill('1.0'), Array(3).fill('2.0')];
    await world.applyManifest('versioned');
    for (const { name } of nodes) await label(name, '1.0');
    await loaded(versioned);
    expect(await versions()).toEqual([old, old]);
    await world.applyManifest('versioned', (text) => text.replaceAll('1.0', '2.0'));
    await eventually(async () => expect(await world.daemonSets(versioned)).toHaveLength(4));
    await label('worker-0', '2.0');
    await eventually(async () => expect(await versions()).toEqual([current, old]));
    await label('worker-1', '2.0');
    await eventually(async () => expect(await versions()).toEqual([current, current]));
    await eventually(async () => expect(await world.daemonSets(versioned)).toHaveLength(2));
    await loaded(versioned);
  });

  function versionOf(labels: Readonly<Record<string, string>>): string | undefined {
    return (
      labels[`beta.kmm.node.kubernetes.io/version-module-loader.${stem}`] ??
      labels[`beta.kmm.node.kubernetes.io/version-device-plugin.${stem}`]
    );
  }
});
