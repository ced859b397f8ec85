import { join } from 'node:path';
import type { V1Container } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { commonLabels } from '../../src/builder/labels.ts';
import { daemonSets, pods } from '../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import { createTemporaryDirectory } from '../../src/shared/temporary.ts';
import { runGather } from '../controller/gather/run-gather.ts';
import { clusterPrograms, startCluster, type Cluster } from '../support/cluster/cluster.ts';
import { hostImage } from '../support/cluster/images.ts';
import { describeWith } from '../support/programs.ts';
import { eventually } from './wait-for.ts';

const namespace = 'default';
const labels = commonLabels('driver', 'module-loader');
const shell = (name: string, script: string): V1Container => ({
  name,
  image: 'tools',
  command: ['/bin/sh', '-c', script],
});

describeWith(clusterPrograms, 'a gathering of a cluster with pods', () => {
  let cluster: Cluster;
  let client: ApiClient;
  beforeAll(async () => {
    cluster = await startCluster();
    client = await cluster.client();
    const kubelet = await cluster.kubelet({ images: { tools: hostImage() } });
    await kubelet.addNode({ name: 'worker-0', kernel: '6.1.0-56-amd64' });
    const spec = {
      initContainers: [shell('prepare', 'echo prepared')],
      containers: [
        shell(
          'loader',
          'echo loading https://user:pass@registry.example; echo "no such device" > /dev/termination-log; exit 3',
        ),
        shell('other', 'echo waiting; sleep 600'),
      ],
    };
    await client.create(daemonSets, {
      metadata: { namespace, name: 'driver', labels },
      spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
    });
    await eventually(async () => {
      const [pod] = await listAll(client, pods, { namespace });
      const states = new Map(pod?.status?.containerStatuses?.map((status) => [status.name, status]));
      const hasEnded = states.get('loader')?.lastState?.terminated?.exitCode === 3;
      const runs = states.get('other')?.state?.running !== undefined;
      if (!hasEnded || !runs) throw new Error('the pod does not run yet');
    });
  });
  afterAll(() => cluster?.[Symbol.asyncDispose]());

  it('has the logs of current and previous containers, and why they ended', async () => {
    await using directory = await createTemporaryDirectory();
    const [pod] = await listAll(client, pods, { namespace });
    const name = pod?.metadata.name ?? '';
    const { exitCode, files, summary } = await runGather(cluster.kubeconfig, join(directory.path, 'out'));
    expect(exitCode).toBe(0);
    const log = (container: string, file: string): string | undefined =>
      files.get(`namespaces/${namespace}/pods/${name}/${container}/${container}/logs/${file}.log`);
    expect(log('prepare', 'current')).toContain('prepared');
    expect(log('loader', 'previous')).toContain('loading https://[redacted]@registry.example');
    expect(log('other', 'current')).toContain('waiting');
    expect(log('other', 'previous')).toBeUndefined();
    expect(files.has(`namespaces/${namespace}/pods/${name}/${name}.yaml`)).toBe(true);
    expect(summary).toMatch(
      new RegExp(
        `\\*\\*Pod ${namespace}/${name}\\*\\*: container loader ended with exit code 3 .*no such device`,
      ),
    );
    expect(summary).toContain(`**DaemonSet ${namespace}/driver**: 0 of 1 pods are available`);
    expect(summary).toMatch(/\| worker-0 \| True \| 6\.1\.0-56-amd64 \| amd64 \| [0-9a-f-]{36} \|/);
  });
});
