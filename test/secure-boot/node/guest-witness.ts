import { setTimeout as sleep } from 'node:timers/promises';
import type { Pod } from '../../../src/controller/observe/cluster/resources.ts';
import type { RealCluster } from '../../support/node/real-cluster.ts';

/** A module in the kernel. */
export interface LoadedModule {
  /** Flags in /proc/modules: O is out of tree, E is unsigned. */
  readonly taint: string;
  /** Empty if it has none. */
  readonly version: string;
}

/** A pod on a node that reports what its kernel does. It has nothing to do with any loader. */
export interface GuestWitness {
  /** Runs a program of busybox, with the node's /lib/modules, and returns its output. */
  run(...command: readonly string[]): Promise<string>;
  kernelLog(): Promise<string>;
  /** Returns undefined if the kernel does not have the module. */
  loaded(module: string): Promise<LoadedModule | undefined>;
  /** Returns the memory of a pod's containers as Kubernetes measures it: without files that were read once. In bytes. */
  memoryOf(pod: Pod | undefined): Promise<number>;
}

const name = 'witness';
/** A node that was just reset does not respond yet. */
const attempts = 60;

/** Starts the pod and waits until it runs. */
export async function startGuestWitness(cluster: RealCluster, node: string): Promise<GuestWitness> {
  const { kubectl, registry } = cluster;
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default' },
    spec: {
      nodeName: node,
      imagePullSecrets: [{ name: 'repo-pull-secret' }],
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name,
          image: `${registry}/ubi:latest`,
          command: ['/bin/busybox', 'sleep', 'infinity'],
          securityContext: { privileged: true },
          volumeMounts: [
            { name: 'cgroups', mountPath: '/cgroups' },
            { name: 'modules', mountPath: '/lib/modules', readOnly: true },
          ],
        },
      ],
      volumes: [
        { name: 'cgroups', hostPath: { path: '/sys/fs/cgroup' } },
        { name: 'modules', hostPath: { path: '/lib/modules' } },
      ],
    },
  };
  await kubectl(['create', '--filename=-'], JSON.stringify(pod));
  const wait = ['wait', 'pod', name, '--for=condition=Ready', '--timeout=200s'];
  await kubectl(wait);
  const execute = async (...command: readonly string[]): Promise<string> => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await kubectl(['exec', name, '--', '/bin/busybox', ...command]);
      } catch (error) {
        if (attempt === attempts) throw error;
        await sleep(1000);
      }
    }
  };
  return {
    run: execute,
    kernelLog: () => execute('dmesg'),
    async loaded(module) {
      const lines = (await execute('cat', '/proc/modules')).split('\n');
      const line = lines.find((one) => one.startsWith(`${module} `));
      if (line === undefined) return undefined;
      // Not every module has one.
      const version = await execute('sh', '-c', `cat /sys/module/${module}/version 2>/dev/null || true`);
      return { taint: /\((\w+)\)$/.exec(line)?.[1] ?? '', version: version.trim() };
    },
    async memoryOf(of) {
      const ids = (of?.status?.containerStatuses ?? []).map(
        ({ containerID = '' }) => containerID.split('//')[1],
      );
      const files = ids.flatMap((id) =>
        ['memory.current', 'memory.stat'].map((file) => `/cgroups/k8s.io/${id}/${file}`),
      );
      const text = await execute('cat', ...files);
      const sum = (pattern: RegExp): number =>
        Array.from(text.matchAll(pattern)).reduce((total, [, bytes]) => total + Number(bytes), 0);
      return sum(/^(\d+)$/gm) - sum(/^inactive_file (\d+)$/gm);
    },
  };
}
