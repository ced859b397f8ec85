import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { isApiError } from '../../../src/controller/runtime/api/errors.ts';
import { nodes } from '../../../src/controller/observe/cluster/resources.ts';
import { freePort, startProcess, type RunningProcess } from '../processes.ts';
import { requireProgram } from '../programs.ts';
import { startContainerd, unmountBelow, type ContainerdOptions } from './containerd.ts';

/** The real programs that a native node needs, and root. */
export const nativeNodePrograms = ['kubelet', 'containerd', 'ctr', 'runc', 'bridge', 'ip', 'umount'] as const;

const run = promisify(execFile);
/** Milliseconds within which a node must be ready. */
const readyLimit = 120_000;

export interface NativeNodeOptions extends ContainerdOptions {
  readonly name: string;
  /** Path of a kubeconfig with the permissions of the node. */
  readonly kubeconfig: string;
  /** PEM file of the authority of the API server's client certificate. */
  readonly authority: string;
  readonly client: ApiClient;
  /**
   * Whether plugins find the kubelet where they expect it, below /var/lib/kubelet: one node of a machine at a
   * time. @default false
   */
  readonly hasPlugins?: boolean | undefined;
}

/** A node of this machine. */
export interface NativeNode extends AsyncDisposable {
  /** Ends the kubelet. The node's containers go on. */
  stopKubelet(): Promise<void>;
  /** Starts the kubelet again, and waits until the node is ready for pods. */
  startKubelet(): Promise<void>;
}

/** Starts containerd and a kubelet of this machine, and waits until their node is ready for pods. */
export async function startNativeNode(options: NativeNodeOptions): Promise<NativeNode> {
  const { name, network, client } = options;
  const directory = join(options.directory, name);
  const at = (file: string): string => join(directory, file);
  await mkdir(directory);
  await using stack = new AsyncDisposableStack();
  const containerd = stack.use(await startContainerd({ ...options, directory }));
  const configuration = kubeletConfiguration({
    endpoint: containerd.endpoint,
    authority: options.authority,
    address: network.gateway,
    port: await freePort(),
    podLogsDir: at('pod-logs'),
  });
  await writeFile(at('kubelet.json'), JSON.stringify(configuration));
  const args = [
    ['--config', at('kubelet.json'), '--kubeconfig', options.kubeconfig, '--root-dir', at('kubelet')],
    ['--cert-dir', at('certificates'), '--hostname-override', name, '--node-ip', network.gateway],
  ].flat();
  if (options.hasPlugins === true) stack.use(await sharePluginDirectories(at('kubelet')));
  stack.use(await keepSettings());
  let kubelet: RunningProcess | undefined;
  const stopKubelet = async (): Promise<void> => kubelet?.stop('SIGKILL');
  const startKubelet = async (): Promise<void> => {
    const started = startProcess(requireProgram('kubelet'), args, { log: at('kubelet.log') });
    kubelet = started;
    await untilReady(client, name, () => (started.exited ? started.output() : undefined));
  };
  stack.defer(async () => {
    await stopKubelet();
    await unmountBelow(at('kubelet'));
  });
  await startKubelet();
  const owned = stack.move();
  return { stopKubelet, startKubelet, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Lays a kubelet's directories of plugins over those of /var/lib/kubelet. */
async function sharePluginDirectories(root: string): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  for (const name of ['plugins', 'plugins_registry']) {
    const [own, expected] = [join(root, name), join('/var/lib/kubelet', name)];
    for (const directory of [own, expected]) await mkdir(directory, { recursive: true });
    await run(requireProgram('mount'), ['--bind', own, expected]);
    stack.defer(async () => {
      await run(requireProgram('umount'), ['--lazy', expected]);
    });
  }
  return stack.move();
}

/** Settings of this machine's kernel that a kubelet changes. */
const settings = ['kernel/panic', 'kernel/panic_on_oops', 'vm/overcommit_memory'].map(
  (name) => `/proc/sys/${name}`,
);

/** Restores them in the end. */
async function keepSettings(): Promise<AsyncDisposable> {
  const before = await Promise.all(settings.map((file) => readFile(file, 'utf8')));
  return {
    async [Symbol.asyncDispose]() {
      await Promise.all(settings.map((file, index) => writeFile(file, before[index] ?? '')));
    },
  };
}

/** Waits until a node is ready and may get pods. @throws Error with what `failure` returns as soon as it does */
export async function untilReady(
  client: ApiClient,
  name: string,
  failure: () => string | undefined,
  limit: number = readyLimit,
): Promise<void> {
  const deadline = performance.now() + limit;
  for (;;) {
    const state = await stateOf(client, name);
    if (state === undefined) return;
    const failed = failure();
    if (failed !== undefined) throw new Error(`the kubelet of ${name} ended: ${failed}`);
    if (performance.now() > deadline) throw new Error(`${name} is not ready: ${state}`);
    await sleep(200);
  }
}

/** How taints begin that tell a node's state. */
const stateTaints = 'node.kubernetes.io/';

/** Returns why a node is not ready for pods, or undefined if it is. */
async function stateOf(client: ApiClient, name: string): Promise<string | undefined> {
  try {
    const { spec, status } = await client.get(nodes, { name });
    const ready = status?.conditions?.find(({ type }) => type === 'Ready');
    if (ready?.status !== 'True') return ready?.message ?? 'it has no status';
    // Others are a test's own.
    const taints = (spec?.taints?.map(({ key }) => key) ?? []).filter((key) => key.startsWith(stateTaints));
    return taints.length === 0 ? undefined : `it is tainted: ${taints.join(', ')}`;
  } catch (error) {
    if (!isApiError(error, 'NOT_FOUND')) throw error;
    return 'it has not registered';
  }
}

/** The configuration of a kubelet that lives with the cgroups and capabilities of a small machine. */
export function kubeletConfiguration({
  endpoint,
  authority,
  ...own
}: {
  endpoint: string;
  authority: string;
  address: string;
  port: number;
  podLogsDir: string;
}): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    ...own,
    healthzPort: 0,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: false },
      x509: { clientCAFile: authority },
    },
    authorization: { mode: 'AlwaysAllow' },
    containerRuntimeEndpoint: endpoint,
    cgroupDriver: 'cgroupfs',
    // Kubelets that share cgroups end each other's pods.
    cgroupsPerQOS: false,
    enforceNodeAllocatable: [],
    failSwapOn: false,
    localStorageCapacityIsolation: false,
    evictionHard: {},
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    registryPullQPS: 0,
    serializeImagePulls: false,
    nodeStatusUpdateFrequency: '5s',
    featureGates: { ImageVolume: true },
  };
}
