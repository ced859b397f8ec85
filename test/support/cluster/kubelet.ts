import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { Informer, type CacheEvent } from '../../../src/controller/runtime/cache/informer.ts';
import { isApiError } from '../../../src/controller/runtime/api/errors.ts';
import { listPages } from '../../../src/controller/runtime/api/list.ts';
import { nodes, pods, type Pod } from '../../../src/controller/observe/cluster/resources.ts';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import type { CertificateFiles } from '../certificates.ts';
import { ImageStore } from './image-store.ts';
import type { LocalImage } from './images.ts';
import { startLogServer } from './log-server.ts';
import type { LoadedModule, ModprobeCall } from './modprobe.ts';
import { NodeState, type NodeOptions } from './node.ts';
import { PodRunner, removePod } from './pod-runner.ts';

/** Options of a test kubelet. */
export interface KubeletOptions {
  /**
   * Local replacements of images, by the name used in pods. Other images are pulled if their registry is at
   * 127.0.0.1 or localhost.
   */
  readonly images?: Readonly<Record<string, LocalImage>>;
}

/**
 * Runs the pods of its nodes as processes of this machine, each container with its own file systems and
 * process IDs, as root and with this machine's network. Ignores security contexts except for a read-only
 * root.
 */
export interface Kubelet extends AsyncDisposable {
  /** Registers a node, ready for pods. */
  addNode(options: NodeOptions): Promise<TestNode>;
}

/** A node as controlled by a test. */
export interface TestNode {
  readonly name: string;
  /** The directory used as `/` of the node, for hostPath volumes. */
  readonly root: string;
  /** All calls of modprobe in the node's containers since it was added, including failed ones. */
  readonly modprobeCalls: readonly ModprobeCall[];
  /** Returns the modules loaded and not unloaded since the last boot, by the name used in the call. */
  loaded(): ReadonlyMap<string, LoadedModule>;
  /**
   * Boots another kernel, or the same: containers are killed without hooks, and restarted if their pod says
   * so.
   */
  reboot(kernel?: string): Promise<void>;
  /** Removes the node gracefully: its Node is deleted, its pods end with hooks and grace period. */
  remove(): Promise<void>;
  /**
   * Simulates the loss of the machine: containers are killed without hooks, then the Node and its pods
   * disappear.
   */
  lost(): Promise<void>;
}

/** Starts a kubelet without nodes. */
export async function startKubelet({
  client,
  tls,
  images = {},
}: KubeletOptions & { client: ApiClient; tls: CertificateFiles }): Promise<Kubelet> {
  await using stack = new AsyncDisposableStack();
  const directory = stack.use(await createTemporaryDirectory());
  const kubelet = new PodKeeper(client, directory.path, images);
  const server = stack.use(
    await startLogServer(tls, ({ namespace, pod, container, previous }) =>
      kubelet.runnerNamed(namespace, pod)?.logFile(container, previous),
    ),
  );
  stack.defer(() => kubelet.stop());
  await kubelet.start();
  const owned = stack.move();
  return {
    async addNode(options) {
      const root = join(directory.path, 'nodes', options.name);
      const state = new NodeState({ ...options, root, client, port: server.port });
      kubelet.nodes.set(options.name, state);
      await state.register();
      return testNode(kubelet, state);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function testNode(kubelet: PodKeeper, state: NodeState): TestNode {
  return {
    name: state.name,
    root: state.root,
    modprobeCalls: state.calls,
    loaded: () => loadedBy(state.callsSinceBoot),
    async reboot(kernel = state.kernel) {
      await state.goDown();
      for (const runner of kubelet.runnersOf(state)) runner.crash();
      await state.boot(kernel);
    },
    remove: () => kubelet.remove(state),
    lost: () => kubelet.lose(state),
  };
}

function loadedBy(calls: readonly ModprobeCall[]): Map<string, LoadedModule> {
  const loaded = new Map<string, LoadedModule>();
  for (const { action, exitCode, name, rest, module } of calls) {
    if (exitCode !== 0) continue;
    if (action === 'load' && module !== undefined) loaded.set(name, module);
    if (action === 'unload') for (const one of [name, ...rest]) loaded.delete(one);
  }
  return loaded;
}

/** Starts and stops the pods of nodes to match the API server. */
class PodKeeper {
  readonly nodes = new Map<string, NodeState>();
  readonly #client: ApiClient;
  readonly #folder: string;
  readonly #images: ImageStore;
  readonly #informer: Informer<Pod, Pod>;
  readonly #stopped = new AbortController();
  /** By uid. */
  readonly #runners = new Map<string, PodRunner>();
  readonly #names = new Map<string, string>();
  #watching: Promise<void> = Promise.resolve();

  constructor(client: ApiClient, folder: string, images: Readonly<Record<string, LocalImage>>) {
    this.#client = client;
    this.#folder = folder;
    this.#images = new ImageStore(join(folder, 'images'), images);
    this.#informer = new Informer({ client, resource: pods, project: (pod: Pod) => pod });
    this.#informer.onEvent((event) => this.#onEvent(event));
  }

  async start(): Promise<void> {
    await mkdir(join(this.#folder, 'pods'), { recursive: true });
    this.#watching = this.#informer.run(this.#stopped.signal);
    await this.#informer.waitForSync(this.#stopped.signal);
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#watching;
    for (const node of this.nodes.values()) node.release();
    const ended = await Promise.allSettled(Array.from(this.#runners.values(), (runner) => runner.abandon()));
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
  }

  runnersOf(node: NodeState): PodRunner[] {
    return [...this.#runners.values()].filter((runner) => runner.node === node);
  }

  runnerNamed(namespace: string, name: string): PodRunner | undefined {
    return this.#runners.get(this.#names.get(`${namespace}/${name}`) ?? '');
  }

  async remove(node: NodeState): Promise<void> {
    await this.#deleteNode(node);
    for (const pod of await this.#podsOf(node)) {
      await ignoringMissing(
        this.#client.delete(pods, { namespace: pod.metadata.namespace, name: pod.metadata.name }),
      );
    }
    while ((await this.#podsOf(node)).length > 0) await sleep(100);
    this.nodes.delete(node.name);
  }

  async lose(node: NodeState): Promise<void> {
    this.nodes.delete(node.name);
    node.release();
    await Promise.all(this.runnersOf(node).map((runner) => runner.abandon()));
    await this.#deleteNode(node);
    for (const pod of await this.#podsOf(node)) await removePod(this.#client, pod, this.#stopped.signal);
  }

  async #deleteNode({ name }: NodeState): Promise<void> {
    await ignoringMissing(this.#client.delete(nodes, { name }));
  }

  async #podsOf({ name }: NodeState): Promise<Pod[]> {
    const found: Pod[] = [];
    const fieldSelector = `spec.nodeName=${name}`;
    for await (const { items } of listPages(this.#client, pods, { fieldSelector })) found.push(...items);
    return found;
  }

  #onEvent(event: CacheEvent<Pod>): void {
    if (event.type === 'deleted') this.#forget(event.previous);
    else this.#keep(event.object);
  }

  #forget({ metadata }: Pod): void {
    const { uid = '', namespace = '', name } = metadata;
    const runner = this.#runners.get(uid);
    this.#runners.delete(uid);
    if (this.#names.get(`${namespace}/${name}`) === uid) this.#names.delete(`${namespace}/${name}`);
    void runner?.abandon();
  }

  #keep(pod: Pod): void {
    const { uid = '', namespace = '', name, deletionTimestamp } = pod.metadata;
    const node = this.nodes.get(pod.spec?.nodeName ?? '');
    if (node === undefined) return;
    const runner = this.#runners.get(uid);
    if (runner !== undefined) return runner.update(pod);
    if (deletionTimestamp !== undefined) return void removePod(this.#client, pod, this.#stopped.signal);
    if (['Succeeded', 'Failed'].includes(pod.status?.phase ?? '')) return;
    const before = this.#names.get(`${namespace}/${name}`);
    if (before !== undefined) void this.#runners.get(before)?.abandon();
    this.#names.set(`${namespace}/${name}`, uid);
    this.#runners.set(
      uid,
      new PodRunner({
        pod,
        client: this.#client,
        node,
        images: this.#images,
        folder: join(this.#folder, 'pods', uid),
      }),
    );
  }
}

async function ignoringMissing(request: Promise<void>): Promise<void> {
  try {
    await request;
  } catch (error) {
    if (!isApiError(error, 'NOT_FOUND')) throw error;
  }
}
