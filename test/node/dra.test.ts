import { readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import * as z from 'zod';
import { parseModule, type Module } from '../../src/api/module/module.ts';
import { modules, nodes, pods, type Pod } from '../../src/controller/observe/cluster/resources.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import { allowReferences, createPullSecret } from '../end-to-end/module-secrets.ts';
import { freePort } from '../support/processes.ts';
import { describeWith } from '../support/programs.ts';
import { pushBuiltIn, pushProgram } from './driver-image.ts';
import {
  installedOperatorPrograms,
  installOverlay,
  operatorNamespace,
  startPreparedCluster,
  untilHolds,
  type PreparedCluster,
} from './installed-operator.ts';

const examples = fileURLToPath(new URL('../../docs/examples/dra', import.meta.url));
const namespace = 'drivers';
/** Part of every kernel, so modprobe finds it loaded wherever the test runs. */
const [moduleName, moduleFile] = ['printk', 'kernel/printk/printk.ko'];
const limit = 300_000;
const versionLabel = `kmm.node.kubernetes.io/version-module.${namespace}.gpu`;
const slices = z.object({
  items: z.array(
    z.object({
      spec: z.object({
        driver: z.string(),
        nodeName: z.string(),
        devices: z.array(z.object({ name: z.string() })),
      }),
    }),
  ),
});

const programs = [
  ...installedOperatorPrograms,
  'containerd-2',
  'containerd-2-shim',
  'dra-plugin',
  'mount',
] as const;

/** Changes the example's Module: a module that is there, a version that only one node has, and a port of its own. */
function onThisMachine(port: number): (text: string) => string {
  return (text) =>
    text
      .replace(
        'moduleName: gpu\n',
        `moduleName: ${moduleName}\n      version: v1\n      registryTLS: { insecure: true }\n`,
      )
      .replace(
        / {6}args: .*\n/,
        (args) => `${args}      env: [{ name: HEALTHCHECK_PORT, value: '${port}' }]\n`,
      );
}

describeWith(programs, 'a driver for dynamic resource allocation on real nodes', () => {
  let cluster: PreparedCluster;

  beforeAll(async () => {
    cluster = await startPreparedCluster(['native', 'other']);
    await cluster.startNode('native', { containerd: 2, hasPlugins: true });
    await cluster.startNode('other');
    await installOverlay(cluster, release(), 'buildah');
    await cluster.kubectl(['create', 'namespace', namespace]);
    await cluster.kubectl(['label', 'namespace', namespace, 'pod-security.kubernetes.io/enforce=privileged']);
    await createPullSecret(cluster.kubectl, { namespace, host: cluster.registry });
    const account = `${operatorNamespace}:kmm-operator-controller`;
    await allowReferences(cluster.kubectl, { namespace, account });
    await pushBuiltIn(cluster.repository('gpu'), moduleFile);
    await pushProgram(cluster.repository('gpu-driver'), 'dra-plugin');
  }, 900_000);
  afterAll(() => cluster?.[Symbol.asyncDispose](), 60_000);

  /** Applies a file of the documents' example, with the images of this cluster's registry. */
  async function apply(name: string, change: (text: string) => string = (text) => text): Promise<void> {
    const text = (await readFile(join(examples, name), 'utf8'))
      .replaceAll('registry.example/work:v1', 'registry.example/kmod:latest')
      .replaceAll('registry.example', cluster.registry);
    await cluster.kubectl(['apply', '--filename=-'], change(text));
  }

  async function module(): Promise<Module> {
    return parseModule(await cluster.client.get(modules, { namespace, name: 'gpu' }));
  }

  async function podsOf(role: string): Promise<Pod[]> {
    const labelSelector = `kmm.node.kubernetes.io/role=${role}`;
    return listAll(cluster.client, pods, { namespace, labelSelector });
  }

  async function published(): Promise<unknown[]> {
    const text = await cluster.kubectl(['get', 'resourceslices', '--output=json']);
    return slices
      .parse(JSON.parse(text))
      .items.map(({ spec }) => [spec.driver, spec.nodeName, ...spec.devices.map(({ name }) => name)]);
  }

  async function pod(name: string): Promise<Pod> {
    return cluster.client.get(pods, { namespace, name });
  }

  it(
    'publishes its device from the node where the module is loaded, and from no other',
    async () => {
      await cluster.kubectl(['label', 'node', 'native', 'other', 'example.com/gpu=true']);
      await cluster.kubectl(['label', 'node', 'native', `${versionLabel}=v1`]);
      await apply('access.yaml');
      await apply('module.yaml', onThisMachine(await freePort()));
      await untilHolds(cluster, async () => {
        expect(await published()).toEqual([['gpu.example.com', 'native', 'device0']]);
      });
      await untilHolds(cluster, async () => {
        expect((await module()).status?.dra).toMatchObject({ availableNumber: 1 });
      });
      const [driver, ...others] = await podsOf('dra');
      expect(others).toEqual([]);
      expect(driver?.spec?.nodeName).toBe('native');
      const { metadata } = await cluster.client.get(nodes, { name: 'native' });
      expect(Object.keys(metadata.labels ?? {})).toEqual(
        expect.arrayContaining([
          `kmm.node.kubernetes.io/${namespace}.gpu.ready`,
          `kmm.node.kubernetes.io/${namespace}.gpu.dra-ready`,
        ]),
      );
    },
    limit,
  );

  it(
    'gives its device to a pod with a claim for its class, which runs on that node',
    async () => {
      await apply('pod.yaml');
      await untilHolds(cluster, async () => {
        const { spec, status } = await pod('with-gpu');
        expect([spec?.nodeName, status?.phase]).toEqual(['native', 'Running']);
      });
      const inPod = ['exec', `--namespace=${namespace}`, 'with-gpu', '--', 'sh', '-c'];
      const look = 'echo $DEVICE; busybox head -c 4 /dev/device0 | busybox od';
      expect(await cluster.kubectl([...inPod, look])).toMatch(/^device0\n0000000 000000 000000\n/);
    },
    limit,
  );

  it(
    'cannot be claimed on the node without the module',
    async () => {
      const other = { name: 'elsewhere', host: 'other' };
      await apply('pod.yaml', (text) =>
        text
          .replace('name: with-gpu', `name: ${other.name}`)
          .replace(
            'spec:\n  resourceClaims',
            `spec:\n  nodeSelector: { kubernetes.io/hostname: ${other.host} }\n  resourceClaims`,
          ),
      );
      await untilHolds(cluster, async () => {
        expect((await pod(other.name)).status?.conditions).toContainEqual(
          expect.objectContaining({
            type: 'PodScheduled',
            status: 'False',
            message: expect.stringContaining('cannot allocate all claims') as unknown,
          }),
        );
      });
    },
    limit,
  );

  it(
    'goes before the module is unloaded, with its DeviceClass, when the Module is deleted',
    async () => {
      const inNamespace = `--namespace=${namespace}`;
      await cluster.kubectl([
        'delete',
        'pod',
        'with-gpu',
        'elsewhere',
        inNamespace,
        '--now',
        '--timeout=120s',
      ]);
      await cluster.kubectl(['delete', 'module', 'gpu', `--namespace=${namespace}`, '--wait=false']);
      // What is built in cannot be unloaded, so the Module stays and says that.
      await untilHolds(cluster, async () => {
        expect((await module()).status?.conditions).toContainEqual(
          expect.objectContaining({
            type: 'Ready',
            status: 'False',
            reason: 'Unloading',
            message: 'The module is being unloaded from 1 node',
          }),
        );
      });
      expect(await podsOf('dra')).toEqual([]);
      expect(await cluster.kubectl(['get', 'deviceclasses', '--output=name'])).toBe('');
      await cluster.kubectl(['annotate', 'module', 'gpu', inNamespace, 'kmm.sigs.x-k8s.io/skip-unload=true']);
      await cluster.kubectl([
        'wait',
        'module',
        'gpu',
        `--namespace=${namespace}`,
        '--for=delete',
        '--timeout=120s',
      ]);
    },
    limit,
  );
});
