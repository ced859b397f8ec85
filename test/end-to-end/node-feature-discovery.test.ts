import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../src/shared/temporary.ts';
import { inspectImage } from '../../src/signer/inspect-image.ts';
import { eventually } from '../cluster/wait-for.ts';
import { installNfd, kubeconfigOf, nfdNamespace } from '../controller/nfd/nfd-world.ts';
import { renderOverlay } from '../deploy/manifests.ts';
import type { LocalImage } from '../support/cluster/images.ts';
import type { TestNode } from '../support/cluster/kubelet.ts';
import { kernelRelease } from '../support/debian-kernel.ts';
import { describeWith, requireProgram } from '../support/programs.ts';
import { documentExample } from './document-examples.ts';
import { runOperator, type OperatorProcess } from './operator-process.ts';
import { operatorWorldPrograms, startOperatorWorld, type OperatorWorld } from './operator-world.ts';

const nfdPrograms = ['nfd-master', 'nfd-worker', 'nfd-gc'] as const;
const nfdImage = 'registry.example/nfd:v0.19.0';
/** A network card, as sysfs describes it. */
const networkCard = {
  class: '0x020000',
  vendor: '0x8086',
  device: '0x100e',
  subsystem_vendor: '0x8086',
  subsystem_device: '0x001e',
};
const cardLabel = 'feature.node.kubernetes.io/pci-0200.present';
const module = 'example-module';

describeWith(
  [...operatorWorldPrograms, ...nfdPrograms],
  'Node Feature Discovery, with its own programs',
  () => {
    let directory: TemporaryDirectory;
    let world: OperatorWorld;
    let operator: OperatorProcess;
    let withCard: TestNode;
    let without: TestNode;

    /** NFD's image: its programs, with the rights of their accounts. Pods have no tokens here, and one address. */
    const image: LocalImage = () => {
      const binaries = nfdPrograms.map((name) => [name, requireProgram(name)] as const);
      return Promise.resolve({
        folders: [directory.path, ...new Set(binaries.map(([, path]) => dirname(path)))],
        programs: Object.fromEntries(
          binaries.map(([name, path]) => [
            name,
            [
              path,
              '-kubeconfig',
              join(directory.path, `${name}.kubeconfig`),
              ...(name === 'nfd-gc' ? [] : ['-port=0']),
            ],
          ]),
        ),
        env: { KUBERNETES_NAMESPACE: nfdNamespace },
      });
    };

    async function addNode(name: string, devices: Readonly<Record<string, object>>): Promise<TestNode> {
      const node = await world.kubelet.addNode({ name, kernel: kernelRelease });
      const files = {
        'etc/os-release': 'ID=debian\nVERSION_ID="12"\n',
        'proc/swaps': 'Filename\tType\tSize\tUsed\tPriority\n',
        ...Object.fromEntries(
          Object.entries(devices).flatMap(([address, attributes]) =>
            Object.entries(attributes).map(([key, value]) => [
              `sys/bus/pci/devices/${address}/${key}`,
              `${value}\n`,
            ]),
          ),
        ),
      };
      for (const [path, content] of Object.entries(files)) {
        await mkdir(dirname(join(node.root, path)), { recursive: true });
        await writeFile(join(node.root, path), content);
      }
      await mkdir(join(node.root, 'sys/bus/pci/devices'), { recursive: true });
      return node;
    }

    async function featureLabels(node: string): Promise<Record<string, string>> {
      const labels = await world.nodeLabels(node);
      return Object.fromEntries(
        Object.entries(labels).filter(([key]) => key.startsWith('feature.node.kubernetes.io/')),
      );
    }

    beforeAll(async () => {
      directory = await createTemporaryDirectory();
      world = await startOperatorWorld({ [nfdImage]: image });
      withCard = await addNode('worker-0', { '0000:00:03.0': networkCard });
      without = await addNode('worker-1', {});
      const { kubectl, client } = world;
      // Containers see no other files of this machine.
      const like = join(directory.path, 'like.kubeconfig');
      await writeFile(like, await kubectl(['config', 'view', '--raw', '--flatten']), { mode: 0o600 });
      const shared = { kubectl, directory: directory.path, like };
      const kubeconfig = await installNfd(await renderOverlay('nfd'), { ...shared, client });
      operator = await runOperator({
        command: 'nfd',
        env: {},
        namespace: nfdNamespace,
        name: 'nfd',
        configuration: { nodeFeatureDiscovery: { image: nfdImage } },
        directory: directory.path,
        kubeconfig,
      });
      await kubectl(
        ['apply', '--filename=-'],
        JSON.stringify(documentExample('openshift-4.12/3.3.1-node-feature-discovery.yaml')),
      );
      await eventually(async () => {
        for (const name of nfdPrograms) await kubeconfigOf(name, shared);
      });
      await world.startOperator();
    });
    afterAll(async () => {
      await operator?.process.stop();
      await world?.[Symbol.asyncDispose]();
      await directory?.[Symbol.asyncDispose]();
    });

    it('labels the nodes with their devices, as the worker configuration of the documents says', async () => {
      await eventually(async () => {
        expect(await featureLabels('worker-0')).toMatchObject({ [cardLabel]: 'true' });
      });
      await eventually(async () => {
        expect(await featureLabels('worker-1')).toHaveProperty(
          'feature.node.kubernetes.io/kernel-version.full',
        );
      });
      expect(await featureLabels('worker-1')).not.toHaveProperty(cardLabel);
    });

    it('is available', async () => {
      await eventually(async () => {
        const conditions = '--output=jsonpath={.status.conditions[?(@.type=="Available")].status}';
        const name = ['nodefeaturediscovery/nfd-instance', `--namespace=${nfdNamespace}`];
        expect(await world.kubectl(['get', ...name, conditions])).toBe('True');
      });
    });

    it('labels by a rule of nfd.openshift.io', async () => {
      const rule = {
        ...documentExample('openshift-4.12/3.6-node-feature-rule.yaml'),
        spec: {
          rules: [
            {
              name: 'example rule',
              labels: { 'example-custom-feature': 'true' },
              matchFeatures: [
                { feature: 'pci.device', matchExpressions: { vendor: { op: 'In', value: ['8086'] } } },
              ],
            },
          ],
        },
      };
      await world.kubectl(['apply', '--filename=-'], JSON.stringify(rule));
      const label = 'feature.node.kubernetes.io/example-custom-feature';
      await eventually(async () =>
        expect(await featureLabels('worker-0')).toMatchObject({ [label]: 'true' }),
      );
      expect(await featureLabels('worker-1')).not.toHaveProperty(label);
    });

    it('lets a Module select nodes by a device, for whose kernel it is built', async () => {
      await world.applyManifest('build-and-sign', (text) =>
        text.replace('kubernetes.io/arch: amd64', `${cardLabel}: "true"`),
      );
      await world.eventually(module, ({ status }) => {
        expect(status?.kernels).toMatchObject([
          { nodes: 1, phase: expect.stringMatching(/^(?:Signing|Ready)$/) },
        ]);
      });
    });

    it('has it signed, and loads it there and nowhere else', async () => {
      await world.eventually(module, ({ status }) => {
        expect(status?.conditions).toContainEqual(
          expect.objectContaining({ type: 'Ready', status: 'True', reason: 'Loaded' }),
        );
        expect(status?.moduleLoader).toMatchObject({ nodesMatchingSelectorNumber: 1, availableNumber: 1 });
      });
      const repository = world.repository('example/minimal-driver');
      const signed = { repository, selector: { tag: kernelRelease } };
      const { worst } = await inspectImage({ image: signed, certificates: [world.key.x509] });
      expect(worst).toBe('trusted');
      expect(withCard.loaded().get('hello')?.file).toContain(kernelRelease);
      expect(without.loaded().size).toBe(0);
    });

    it('removes its labels when it is deleted, if it is told to prune', async () => {
      const name = ['nodefeaturediscovery/nfd-instance', `--namespace=${nfdNamespace}`];
      await world.kubectl(['patch', ...name, '--type=merge', '--patch', '{"spec":{"prunerOnDelete":true}}']);
      await world.kubectl(['delete', ...name, '--timeout=60s']);
      expect(await featureLabels('worker-0')).toEqual({});
      expect(await featureLabels('worker-1')).toEqual({});
      expect(await world.kubectl(['get', 'clusterrolebinding/nfd-master', '--ignore-not-found'])).toBe('');
      await eventually(async () => {
        const left = await world.kubectl([
          'get',
          'deployments,daemonsets,jobs',
          `--namespace=${nfdNamespace}`,
          '--output=name',
        ]);
        expect(left).toBe('');
      });
    });
  },
);
