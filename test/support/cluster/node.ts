import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { V1Taint } from '@kubernetes/client-node';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { nodes } from '../../../src/controller/observe/cluster/resources.ts';
import type { ModprobeCall } from './modprobe.ts';

/** Options of a node. */
export interface NodeOptions {
  readonly name: string;
  /** What `uname -r` prints on it. */
  readonly kernel: string;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** @default 'Debian GNU/Linux 12 (bookworm)' */
  readonly osImage?: string | undefined;
  /** GOARCH. @default 'amd64' */
  readonly architecture?: string | undefined;
  readonly taints?: readonly V1Taint[] | undefined;
  /** @default 64 CPUs, 256 GiB, 250 pods */
  readonly capacity?: Readonly<Record<string, string>> | undefined;
}

const defaultCapacity = { cpu: '64', memory: '256Gi', pods: '250', 'ephemeral-storage': '1Ti' };

/** The state of a node in its kubelet. */
export class NodeState {
  readonly name: string;
  /** The directory used as `/` of the node, for hostPath volumes. */
  readonly root: string;
  readonly calls: ModprobeCall[] = [];
  readonly #options: NodeOptions;
  readonly #client: ApiClient;
  readonly #port: number;
  /** The number of calls made before the last boot. */
  #booted = 0;
  #up = Promise.withResolvers<void>();
  #bootId = randomUUID();
  #kernel: string;

  constructor(options: NodeOptions & { root: string; client: ApiClient; port: number }) {
    this.name = options.name;
    this.root = options.root;
    this.#options = options;
    this.#client = options.client;
    this.#port = options.port;
    this.#kernel = options.kernel;
  }

  get kernel(): string {
    return this.#kernel;
  }

  /** Calls since the last boot. */
  get callsSinceBoot(): readonly ModprobeCall[] {
    return this.calls.slice(this.#booted);
  }

  whenUp(): Promise<void> {
    return this.#up.promise;
  }

  called(calls: readonly ModprobeCall[]): void {
    this.calls.push(...calls);
  }

  /** Creates the Node object and makes the node ready. */
  async register(): Promise<void> {
    const { name, labels, taints = [], architecture = 'amd64' } = this.#options;
    const wellKnown = {
      'kubernetes.io/hostname': name,
      'kubernetes.io/os': 'linux',
      'kubernetes.io/arch': architecture,
    };
    // The kubelet annotates its node; a node without annotations takes no JSON patch that adds one.
    const annotations = { 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' };
    await this.#client.create(nodes, {
      metadata: { name, labels: { ...wellKnown, ...labels }, annotations },
    });
    await this.#makeDirectories();
    await this.#writeStatus(true);
    // Admission taints new nodes as not ready; the controller that removes the taint does not run.
    await this.#client.patch(nodes, { name }, { spec: { taints } });
    this.#up.resolve();
  }

  /** Holds containers back until the node is up again. */
  async goDown(): Promise<void> {
    this.#up = Promise.withResolvers();
    await this.#writeStatus(false);
  }

  /** Boots a kernel. */
  async boot(kernel: string): Promise<void> {
    this.#kernel = kernel;
    this.#bootId = randomUUID();
    this.#booted = this.calls.length;
    await rm(join(this.root, 'sys/module'), { recursive: true });
    await this.#makeDirectories();
    await this.#writeStatus(true);
    this.#up.resolve();
  }

  /** Releases everything that waits for the node, so that it can end. */
  release(): void {
    this.#up.resolve();
  }

  async #makeDirectories(): Promise<void> {
    for (const name of [
      `lib/modules/${this.#kernel}`,
      'var/lib/firmware',
      'var/lib/kubelet/device-plugins',
      'sys/module',
    ]) {
      await mkdir(join(this.root, name), { recursive: true });
    }
  }

  async #writeStatus(isReady: boolean): Promise<void> {
    const { name, osImage = 'Debian GNU/Linux 12 (bookworm)', architecture = 'amd64' } = this.#options;
    const now = new Date().toISOString();
    const capacity = { ...defaultCapacity, ...this.#options.capacity };
    const status = {
      capacity,
      allocatable: capacity,
      conditions: [
        {
          type: 'Ready',
          status: isReady ? 'True' : 'False',
          reason: isReady ? 'KubeletReady' : 'KubeletNotReady',
          message: isReady ? 'kubelet is posting ready status' : 'the node reboots',
          lastHeartbeatTime: now,
          lastTransitionTime: now,
        },
      ],
      addresses: [
        { type: 'InternalIP', address: '127.0.0.1' },
        { type: 'Hostname', address: name },
      ],
      daemonEndpoints: { kubeletEndpoint: { Port: this.#port } },
      nodeInfo: {
        machineID: name,
        systemUUID: name,
        bootID: this.#bootId,
        kernelVersion: this.#kernel,
        osImage,
        containerRuntimeVersion: 'bubblewrap://0.8',
        kubeletVersion: 'v1.34.0',
        kubeProxyVersion: '',
        operatingSystem: 'linux',
        architecture,
      },
    };
    await this.#client.patch(nodes, { name }, { status }, { subresource: 'status' });
  }
}
