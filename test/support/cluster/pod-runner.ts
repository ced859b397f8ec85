import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { isApiError } from '../../../src/controller/runtime/api/errors.ts';
import { keyOf } from '../../../src/controller/runtime/api/object-key.ts';
import { pathOf } from '../../../src/controller/runtime/api/resource.ts';
import { pods, type Pod } from '../../../src/controller/observe/cluster/resources.ts';
import { ContainerRunner, type PodContext } from './container-runner.ts';
import type { ImageStore } from './image-store.ts';
import type { NodeState } from './node.ts';
import { statusOf } from './pod-status.ts';
import { MissingReference, referencesOf } from './references.ts';
import { layOutVolumes } from './volumes.ts';

export interface PodRunnerOptions {
  readonly pod: Pod;
  readonly client: ApiClient;
  readonly node: NodeState;
  readonly images: ImageStore;
  /** An empty directory for the pod. */
  readonly folder: string;
}

/** Milliseconds between attempts to set up volumes and to write a status. */
const retryAfter = 300;
const metadataSchema = z.looseObject({ deletionGracePeriodSeconds: z.number().optional() });

/** Runs one pod until it is removed. */
export class PodRunner {
  readonly node: NodeState;
  readonly #options: PodRunnerOptions;
  readonly #stopping = new AbortController();
  readonly #abandoned = new AbortController();
  readonly #startTime = new Date().toISOString();
  readonly #initial: readonly ContainerRunner[];
  readonly #main: readonly ContainerRunner[];
  readonly #said = new Set<string>();
  readonly #done: Promise<void>;
  #pod: Pod;
  #ended = false;
  #terminating: Promise<void> | undefined;
  #writing: Promise<void> = Promise.resolve();
  #dirty = false;

  constructor(options: PodRunnerOptions) {
    this.#options = options;
    this.#pod = options.pod;
    this.node = options.node;
    const { spec } = options.pod;
    const context = this.#context();
    this.#initial = (spec?.initContainers ?? []).map((container) => new ContainerRunner(container, context));
    this.#main = (spec?.containers ?? []).map((container) => new ContainerRunner(container, context));
    this.#done = this.#run();
  }

  /** Handles a change of the pod: a deleted one is terminated. */
  update(pod: Pod): void {
    this.#pod = pod;
    if (pod.metadata.deletionTimestamp !== undefined) this.#terminating ??= this.#terminate();
  }

  /** Kills its containers, as in a crash of the node. They are restarted, if allowed, once the node is up. */
  crash(): void {
    for (const runner of this.#all()) runner.crash();
  }

  /** Stops the pod without telling the API server. */
  async abandon(): Promise<void> {
    this.#abandoned.abort();
    this.#stopping.abort();
    this.crash();
    await this.#done;
    await this.#terminating;
    await this.#writing;
  }

  /** Returns the file with the output of a container. */
  logFile(container: string, previous: boolean): string | undefined {
    const runner = this.#all().find(({ record }) => record.name === container);
    return previous ? runner?.previousLogFile : runner?.logFile();
  }

  #all(): readonly ContainerRunner[] {
    return [...this.#initial, ...this.#main];
  }

  async #run(): Promise<void> {
    const { spec } = this.#options.pod;
    const always = (spec?.restartPolicy ?? 'Always') === 'Always';
    const onFailure = always || spec?.restartPolicy === 'OnFailure';
    this.#report();
    await mkdir(join(this.#options.folder, 'volumes'), { recursive: true });
    const volumes = await this.#volumes();
    if (volumes === undefined) return;
    for (const runner of this.#initial) {
      await runner.run(volumes, (exitCode) => onFailure && exitCode !== 0);
      if (runner.record.state.terminated?.exitCode !== 0) return;
    }
    await Promise.all(
      this.#main.map((runner) => runner.run(volumes, (exitCode) => always || (onFailure && exitCode !== 0))),
    );
  }

  async #volumes(): Promise<ReadonlyMap<string, string> | undefined> {
    const { pod, client, folder, node } = this.#options;
    const options = {
      folder: join(folder, 'volumes'),
      nodeRoot: node.root,
      references: referencesOf(client, pod),
    };
    while (!this.#stopping.signal.aborted) {
      try {
        return await layOutVolumes(pod.spec ?? { containers: [] }, options);
      } catch (error) {
        if (!(error instanceof MissingReference)) throw error;
        this.#event('FailedMount', `MountVolume.SetUp failed: ${error.message}`);
        await sleep(retryAfter);
      }
    }
    return undefined;
  }

  async #terminate(): Promise<void> {
    const { spec, metadata } = this.#pod;
    const { deletionGracePeriodSeconds: seconds = spec?.terminationGracePeriodSeconds ?? 30 } =
      metadataSchema.parse(metadata);
    this.#stopping.abort();
    await Promise.all(this.#all().map((runner) => runner.stop(seconds * 1000)));
    await this.#done;
    if (this.#abandoned.signal.aborted) return;
    this.#ended = true;
    this.#report();
    await this.#writing;
    await removePod(this.#options.client, this.#pod, this.#abandoned.signal);
  }

  #context(): PodContext {
    const { pod, client, node, images, folder } = this.#options;
    const references = referencesOf(client, pod);
    return {
      name: `${pod.metadata.namespace}/${pod.metadata.name}`,
      hostname: pod.metadata.name,
      folder,
      references,
      stopping: this.#stopping.signal,
      kernel: () => node.kernel,
      sysModule: join(node.root, 'sys/module'),
      image: (name) => images.get(name, pod, references),
      whenUp: () => node.whenUp(),
      changed: () => this.#report(),
      event: (reason, message) => this.#event(reason, message),
      called: (calls) => node.called(calls),
    };
  }

  /** Writes the status; if more changes arrive meanwhile, only the latest. */
  #report(): void {
    if (this.#dirty) return;
    this.#dirty = true;
    this.#writing = this.#writing.then(() => this.#write());
  }

  async #write(): Promise<void> {
    const { client } = this.#options;
    const { uid } = this.#pod.metadata;
    while (!this.#abandoned.signal.aborted) {
      this.#dirty = false;
      const status = statusOf(this.#pod, {
        initial: this.#initial.map(({ record }) => record),
        main: this.#main.map(({ record }) => record),
        restarts: this.#pod.spec?.restartPolicy !== 'Never',
        startTime: this.#startTime,
        ended: this.#ended,
      });
      try {
        const patch = { metadata: { uid }, status };
        await client.patch(pods, keyOf(this.#pod), patch, { subresource: 'status' });
        return;
      } catch (error) {
        if (isApiError(error, 'NOT_FOUND', 'CONFLICT', 'INVALID')) return;
        await sleep(retryAfter);
      }
    }
  }

  /** Records an event; the same one only once. */
  #event(reason: string, message: string): void {
    if (this.#abandoned.signal.aborted || this.#said.has(`${reason} ${message}`)) return;
    this.#said.add(`${reason} ${message}`);
    const { namespace = '', name, uid } = this.#pod.metadata;
    const now = new Date().toISOString();
    const body = {
      metadata: { generateName: `${name}.`, namespace },
      involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace, name, uid },
      reason,
      message: message.slice(0, 1024),
      type: 'Warning',
      count: 1,
      firstTimestamp: now,
      lastTimestamp: now,
      source: { component: 'kubelet', host: this.node.name },
    };
    // Nothing waits for an event, and a test that misses it reports more than this error would.
    void this.#options.client
      .request({ method: 'POST', path: `/api/v1/namespaces/${namespace}/events`, body })
      .catch(() => {});
  }
}

/** Deletes a pod that has ended; if the API server is down, as soon as it is back. */
export async function removePod(client: ApiClient, pod: Pod, signal: AbortSignal): Promise<void> {
  const { uid } = pod.metadata;
  while (!signal.aborted) {
    try {
      await client.request({
        method: 'DELETE',
        path: pathOf(pods, keyOf(pod)),
        body: { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 0, preconditions: { uid } },
      });
      return;
    } catch (error) {
      if (isApiError(error, 'NOT_FOUND', 'CONFLICT')) return;
      if (!isApiError(error)) throw error;
      await sleep(retryAfter);
    }
  }
}
