import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { V1Container, V1PodSpec } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import {
  configMaps,
  daemonSets,
  jobs,
  nodes,
  pods,
  secrets,
  type Job,
  type Pod,
} from '../../src/controller/observe/cluster/resources.ts';
import { clusterPrograms, startCluster, type Cluster } from '../support/cluster/cluster.ts';
import { hostImage } from '../support/cluster/images.ts';
import type { Kubelet, TestNode } from '../support/cluster/kubelet.ts';
import { describeWith } from '../support/programs.ts';
import { eventually, podsOf, readLog, waitForJob } from './wait-for.ts';

const namespace = 'default';

function shell(script: string, more: Partial<V1Container> = {}): V1Container {
  return { name: 'main', image: 'tools', command: ['/bin/sh', '-c', script], ...more };
}

function jobOf(name: string, spec: Pick<V1PodSpec, 'containers' | 'initContainers' | 'volumes'>): Job {
  return {
    metadata: { name, namespace },
    spec: { backoffLimit: 0, template: { spec: { restartPolicy: 'Never', ...spec } } },
  };
}

/** How often a pod's container has been started again, if it waits for the next time. */
function restartsOf({ status }: Pod): number | undefined {
  const [container] = status?.containerStatuses ?? [];
  return container?.state?.waiting === undefined ? undefined : container.restartCount;
}

describeWith(clusterPrograms, 'a cluster of the tests', () => {
  let cluster: Cluster;
  let client: ApiClient;
  let kubelet: Kubelet;
  let node: TestNode;

  beforeAll(async () => {
    cluster = await startCluster();
    client = await cluster.client();
    kubelet = await cluster.kubelet({ images: { tools: hostImage({ greet: ['echo', 'good', 'day'] }) } });
    node = await kubelet.addNode({ name: 'worker-0', kernel: '6.1.0-56-amd64', labels: { role: 'worker' } });
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  it('runs the container of a Job, which ends with its last words and its log', async () => {
    const script = 'greet; echo "$GREETING"; pwd; printf "all done" > /dev/termination-log';
    const env = [
      { name: 'WHOM', value: 'world' },
      { name: 'GREETING', value: 'hello $(WHOM)' },
    ];
    const job = jobOf('well', { containers: [shell(script, { env, workingDir: '/var/tmp' })] });
    await client.create(jobs, job);
    const pod = await waitForJob(client, job, 'Complete');
    expect(pod.status).toMatchObject({
      phase: 'Succeeded',
      containerStatuses: [{ state: { terminated: { exitCode: 0, message: 'all done' } } }],
    });
    expect(await readLog(client, pod)).toBe('good day\nhello world\n/var/tmp\n');
    expect(await readLog(client, pod, { tailLines: 1 })).toBe('/var/tmp\n');
  });

  it('lets a Job fail with the exit code of its container', async () => {
    const job = jobOf('badly', { containers: [shell('echo oh >&2; exit 7')] });
    await client.create(jobs, job);
    const pod = await waitForJob(client, job, 'Failed');
    expect(pod.status?.containerStatuses?.[0]?.state?.terminated).toMatchObject({
      exitCode: 7,
      reason: 'Error',
    });
    expect(await readLog(client, pod)).toBe('oh\n');
  });

  it('has the previous log of a container that waits to be started again: that of its last start', async () => {
    const mount = { volumeMounts: [{ name: 'shared', mountPath: '/shared' }] };
    const script = 'echo . >> /shared/starts; wc -l < /shared/starts; exit 3';
    const spec = { containers: [shell(script, mount)], volumes: [{ name: 'shared', emptyDir: {} }] };
    const key = { name: 'crashing', namespace };
    await client.create(pods, { metadata: key, spec });
    const { restarts = 0, log } = await eventually(async () => {
      const pod = await client.get(pods, key);
      const found = { restarts: restartsOf(pod), log: await readLog(client, pod, { previous: true }) };
      // From then on it waits for seconds.
      expect(found.restarts).toBeGreaterThan(2);
      expect(restartsOf(await client.get(pods, key))).toBe(found.restarts);
      return found;
    });
    expect(log).toBe(`${restarts + 1}\n`);
    await client.delete(pods, key);
  });

  it('runs containers one after the other before the others', async () => {
    const mount = { volumeMounts: [{ name: 'shared', mountPath: '/shared' }] };
    const job = jobOf('in-order', {
      initContainers: [shell('echo first > /shared/words', { name: 'before', ...mount })],
      containers: [shell('cat /shared/words', mount)],
      volumes: [{ name: 'shared', emptyDir: {} }],
    });
    await client.create(jobs, job);
    expect(await readLog(client, await waitForJob(client, job, 'Complete'))).toBe('first\n');
  });

  it('waits for a Secret that is missing, and goes on when it is there', async () => {
    const job = jobOf('patient', {
      containers: [
        shell('cat /run/token/name; stat -c " %a" /run/token/name; cat /settings/key', {
          volumeMounts: [
            { name: 'token', mountPath: '/run/token', readOnly: true },
            { name: 'settings', mountPath: '/settings' },
          ],
          securityContext: { readOnlyRootFilesystem: true },
        }),
      ],
      volumes: [
        {
          name: 'token',
          secret: { secretName: 'late', items: [{ key: 'token', path: 'name' }], defaultMode: 0o440 },
        },
        { name: 'settings', configMap: { name: 'settings' } },
      ],
    });
    await client.create(configMaps, { metadata: { name: 'settings', namespace }, data: { key: 'value' } });
    await client.create(jobs, job);
    await eventually(async () => {
      const list = JSON.stringify(
        await client.request({ method: 'GET', path: `/api/v1/namespaces/${namespace}/events` }),
      );
      expect(list).toContain('secret \\"late\\" not found');
    });
    const [waiting] = await podsOf(client, { namespace, labelSelector: 'job-name=patient' });
    expect(waiting?.status).toMatchObject({
      phase: 'Pending',
      containerStatuses: [{ state: { waiting: { reason: 'ContainerCreating' } } }],
    });
    await client.create(secrets, { metadata: { name: 'late', namespace }, data: { token: btoa('word') } });
    expect(await readLog(client, await waitForJob(client, job, 'Complete'))).toBe('word 440\nvalue');
  });

  it('does not start a container whose variables come from a Secret that is missing', async () => {
    const secretKeyRef = { name: 'later', key: 'word' };
    const env = [{ name: 'WORD', valueFrom: { secretKeyRef } }];
    const job = jobOf('unsettled', { containers: [shell('echo "$WORD"', { env })] });
    await client.create(jobs, job);
    await eventually(async () => {
      const [pod] = await podsOf(client, { namespace, labelSelector: 'job-name=unsettled' });
      expect(pod?.status?.containerStatuses?.[0]?.state?.waiting).toEqual({
        reason: 'CreateContainerConfigError',
        message: 'secret "later" not found',
      });
    });
    await client.create(secrets, { metadata: { name: 'later', namespace }, data: { word: btoa('here') } });
    expect(await readLog(client, await waitForJob(client, job, 'Complete'))).toBe('here\n');
  });

  it('says which image it cannot pull', async () => {
    const job = jobOf('imageless', { containers: [{ name: 'main', image: 'quay.example/unknown:v1' }] });
    await client.create(jobs, job);
    await eventually(async () => {
      const [pod] = await podsOf(client, { namespace, labelSelector: 'job-name=imageless' });
      expect(pod?.status?.containerStatuses?.[0]?.state?.waiting?.reason).toBe('ImagePullBackOff');
    });
    await client.delete(jobs, { namespace, name: 'imageless' });
    await eventually(async () => {
      expect(await podsOf(client, { namespace, labelSelector: 'job-name=imageless' })).toEqual([]);
    });
  });

  it('runs a DaemonSet on the nodes that it selects, and ends its pods with their hooks', async () => {
    const other = await kubelet.addNode({ name: 'other-0', kernel: '6.1.0-56-amd64' });
    const labels = { app: 'daemon' };
    const lifecycle = { preStop: { exec: { command: ['/bin/sh', '-c', 'echo bye > /node/farewell'] } } };
    await client.create(daemonSets, {
      metadata: { name: 'daemon', namespace },
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            nodeSelector: { role: 'worker' },
            containers: [
              shell('sleep infinity', { lifecycle, volumeMounts: [{ name: 'node', mountPath: '/node' }] }),
            ],
            volumes: [{ name: 'node', hostPath: { path: '/var/lib/firmware', type: 'Directory' } }],
          },
        },
      },
    });
    await eventually(async () => {
      const { status } = await client.get(daemonSets, { namespace, name: 'daemon' });
      expect(status).toMatchObject({ desiredNumberScheduled: 1, numberReady: 1 });
    });
    const [pod] = await podsOf(client, { namespace, labelSelector: 'app=daemon' });
    expect(pod?.spec?.nodeName).toBe(node.name);
    await client.delete(daemonSets, { namespace, name: 'daemon' });
    await eventually(async () => {
      expect(await podsOf(client, { namespace, labelSelector: 'app=daemon' })).toEqual([]);
    });
    expect(await readFile(join(node.root, 'var/lib/firmware/farewell'), 'utf8')).toBe('bye\n');
    await other.remove();
  });

  it('starts a pod again when its node boots another kernel, and forgets it with a node that is lost', async () => {
    const other = await kubelet.addNode({ name: 'shaky', kernel: '6.1.0-55-amd64' });
    const metadata = { name: 'steady', namespace };
    await client.create(pods, {
      metadata,
      spec: { nodeName: 'shaky', containers: [shell('exec sleep infinity')] },
    });
    const running = async (restartCount: number): Promise<void> => {
      const { status } = await client.get(pods, metadata);
      expect(status).toMatchObject({ phase: 'Running', containerStatuses: [{ ready: true, restartCount }] });
    };
    await eventually(() => running(0));
    await other.reboot('6.1.0-56-amd64');
    expect((await client.get(nodes, { name: 'shaky' })).status).toMatchObject({
      nodeInfo: { kernelVersion: '6.1.0-56-amd64' },
    });
    await eventually(() => running(1));
    const [container] = (await client.get(pods, metadata)).status?.containerStatuses ?? [];
    expect(container?.lastState?.terminated).toMatchObject({ exitCode: 255, reason: 'Unknown' });
    await other.lost();
    await expect(client.get(pods, metadata)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(client.get(nodes, { name: 'shaky' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
