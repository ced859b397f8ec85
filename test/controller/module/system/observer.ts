import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { vi } from 'vitest';
import { parseModule, type Module } from '../../../../src/api/module/module.ts';
import {
  daemonSets,
  jobs,
  modules,
  type CustomResource,
  type DaemonSet,
  type Job,
} from '../../../../src/controller/observe/cluster/resources.ts';
import { Informer } from '../../../../src/controller/runtime/cache/informer.ts';
import type { KubernetesObject } from '../../../../src/controller/runtime/api/object-key.ts';
import type { Resource } from '../../../../src/controller/runtime/api/resource.ts';
import { RegistryClient } from '../../../../src/registry/image/client.ts';
import { parseReference } from '../../../../src/registry/model/reference.ts';
import { verifyImage } from '../../../../src/signer/inspect-image.ts';
import { imageOf } from '../cluster-objects.ts';
import type { ModuleWorld } from '../module-world.ts';

const role = 'kmm.node.kubernetes.io/role';
const waiting = { timeout: 60_000, interval: 20 };

/** Observes a cluster, and checks that each image for nodes is pinned and signed. */
export interface Observer extends AsyncDisposable {
  /** Called with each Job when it appears. */
  onJob(handler: (job: Job) => void): void;
  module(namespace: string): Module | undefined;
  daemonSets(namespace: string): DaemonSet[];
  jobs(namespace: string): Job[];
  /** Waits until a check passes. */
  until(check: () => void): Promise<void>;
  /** Returns the images that module loaders named in a namespace, at any time. */
  imagesSeen(namespace: string): readonly string[];
  /** Returns what was wrong with images of module loaders, in all namespaces. */
  violations(): Promise<string[]>;
}

export async function startObserver(world: ModuleWorld): Promise<Observer> {
  const stop = new AbortController();
  const follow = <T extends KubernetesObject>(resource: Resource<T>): Informer<T, T> =>
    new Informer<T, T>({
      client: world.client,
      resource,
      project: (object) => object,
      indexes: { namespace: (_object, { namespace = '' }) => [namespace] },
      backoff: { first: 50, limit: 500 },
    });
  const [moduleCache, daemonSetCache, jobCache] = [follow(modules), follow(daemonSets), follow(jobs)];
  const images = new Map<string, Set<string>>();
  const verdicts = new Map<string, Promise<string | undefined>>();
  const verifier = createVerifier(world);
  daemonSetCache.onEvent((event) => {
    if (event.type === 'deleted' || event.object.metadata.labels?.[role] !== 'module-loader') return;
    const { namespace = '' } = event.key;
    const seen = images.get(namespace) ?? new Set();
    images.set(namespace, seen);
    for (const image of imagesOf(event.object)) {
      seen.add(image);
      if (!verdicts.has(image)) verdicts.set(image, verifier.verify(image));
    }
  });
  const running = [moduleCache, daemonSetCache, jobCache].map((cache) => cache.run(stop.signal));
  await Promise.all([moduleCache, daemonSetCache, jobCache].map((cache) => cache.waitForSync(stop.signal)));
  return {
    onJob: (handler) => {
      jobCache.onEvent((event) => {
        if (event.type === 'added') handler(event.object);
      });
    },
    module: (namespace) => {
      const resource: CustomResource | undefined = moduleCache.get({ namespace, name: 'driver' });
      return resource && parseModule(resource);
    },
    daemonSets: (namespace) => daemonSetCache.byIndex('namespace', namespace),
    jobs: (namespace) => jobCache.byIndex('namespace', namespace),
    until: (check) => vi.waitFor(check, waiting),
    imagesSeen: (namespace) => [...(images.get(namespace) ?? [])],
    violations: async () => (await Promise.all(verdicts.values())).filter((one) => one !== undefined),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.all([...running, ...verdicts.values()]);
      await verifier.close();
    },
  };
}

function imagesOf({ spec }: DaemonSet): string[] {
  const image = imageOf(spec?.template.spec);
  return image === undefined ? [] : [image];
}

/** Creates a verifier of images in the registry, with the certificate of the world's first key. */
function createVerifier(world: ModuleWorld): {
  verify(image: string): Promise<string | undefined>;
  close(): Promise<void>;
} {
  const client = new RegistryClient({ plainHttp: true });
  const certificates = [new X509Certificate(readFileSync(world.key.certificate))];
  return {
    async verify(image) {
      const { digest, ...reference } = parseReference(image);
      if (digest === undefined) return `${image} is not pinned`;
      const repository = client.repository(reference);
      const check = () => verifyImage({ image: { repository, selector: { digest } }, certificates });
      // The registry may be unavailable.
      const { worst } = await vi.waitFor(check, waiting);
      return worst === 'trusted' ? undefined : `${image} is ${worst}`;
    },
    close: () => client.close(),
  };
}
