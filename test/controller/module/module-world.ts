import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import { parseModule, type Module } from '../../../src/api/module/module.ts';
import {
  configMaps,
  daemonSets,
  jobs,
  modules,
  secrets,
  type CustomResource,
  type DaemonSet,
  type Job,
} from '../../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { listAll } from '../../../src/controller/runtime/api/list.ts';
import { events, type KubernetesEvent } from '../../../src/controller/runtime/event-recorder.ts';
import { RegistryClient } from '../../../src/registry/image/client.ts';
import type { ImageRepository } from '../../../src/registry/image/repository.ts';
import { parseReference, type Reference } from '../../../src/registry/model/reference.ts';
import { signImage } from '../../../src/signer/sign-image.ts';
import { startApiServer, type ApiServer } from '../../support/api-server.ts';
import { storeImage, withParents } from '../../support/images.ts';
import { startTestRegistry, type RegistryKind, type TestRegistry } from '../../support/registries.ts';
import { Started } from '../../support/second-tries.ts';
import { createTestKey, helloModule, type TestKey } from '../../support/signing.ts';
import { installCustomResources } from '../../support/custom-resources.ts';
import { completeJob, createNamespace, createNode } from './cluster-objects.ts';
import { runController, type RunControllerOptions } from './run-controller.ts';

/** Where the module is in the images that this world builds. */
export const modulePath = 'opt/lib/modules/6.1.0/hello.ko';

const waiting = { timeout: 30_000, interval: 50 };

/** The image that a build Job pushes. */
export function builtImageOf(job: Job): string {
  const argument = argumentsOf(job).find((one) => one.startsWith('--destination='));
  return argument?.slice('--destination='.length) ?? '';
}

/** A name of an image, and the repository that it is in. */
export interface RemoteImage {
  readonly repository: ImageRepository;
  readonly reference: Pick<Reference, 'tag' | 'digest'>;
}

/** A real API server and a registry with the Module controller between them; the test does what Jobs would do. */
export interface ModuleWorld extends AsyncDisposable {
  readonly api: ApiServer;
  readonly client: ApiClient;
  readonly registry: TestRegistry;
  readonly key: TestKey;
  readonly otherKey: TestKey;
  /** Starts a controller; gives the function that stops it. */
  startController(options?: RunControllerOptions): Promise<() => Promise<void>>;
  /** Makes a namespace with a Dockerfile `build` and the Secrets `signing` and `signing-2`. */
  namespace(name: string): Promise<void>;
  /** Makes such a namespace, and a node with a kernel that Modules of `spec` with the same name select. */
  namespaceWithNode(name: string, kernel: string): Promise<void>;
  /** The spec of a Module for the node of that name, with an image for every kernel. */
  spec(name: string, container: object, more?: object): object;
  image(repository: string): string;
  apply(
    namespace: string,
    spec: Module['spec'] | object,
    annotations?: Record<string, string>,
  ): Promise<void>;
  /** The Module `driver` of a namespace. */
  module(namespace: string): Promise<Module>;
  /** Waits until the Module fulfils a check. */
  eventually(namespace: string, check: (module: Module) => void): Promise<Module>;
  jobs(namespace: string): Promise<Job[]>;
  daemonSets(namespace: string): Promise<DaemonSet[]>;
  /** Waits until the events, which follow a change of status, fulfil a check. */
  events(namespace: string, check: (events: readonly KubernetesEvent[]) => void): Promise<void>;
  /** Waits for the only active Job of a kind. */
  activeJob(namespace: string, kind: 'build' | 'sign'): Promise<Job>;
  /** Splits the name of an image in the registry. */
  parseImage(image: string): RemoteImage;
  /** Does what a build Job does: pushes an image with an unsigned module, and ends. */
  build(job: Job, content?: string, path?: string): Promise<string>;
  /** Does what a sign Job does; gives the digest of the signed image. It ends unless `ends` is false. */
  sign(job: Job, key?: TestKey, ends?: boolean): Promise<string>;
  /** Pushes an unsigned image. */
  push(image: string, content?: string, path?: string): Promise<string>;
}

/** The arguments of a Job's container. */
export function argumentsOf(job: Job): readonly string[] {
  return job.spec?.template.spec?.containers[0]?.args ?? [];
}

/** Starts one, on an API server of its own if none is given. */
export async function startModuleWorld(
  given?: ApiServer,
  registryKind: RegistryKind = 'embedded',
): Promise<ModuleWorld> {
  const folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
  const [api, registry] = await Promise.all([given ?? startApiServer(), startTestRegistry(registryKind)]);
  const client = await api.client();
  await installCustomResources(client);
  const key = await createTestKey(folder, 'signing');
  const otherKey = await createTestKey(folder, 'signing-2');
  const registries = new RegistryClient({ plainHttp: true });
  const parseImage = (image: string): RemoteImage => {
    const { repository, ...reference } = parseReference(image);
    return { reference, repository: registries.repository({ registry: registry.host, repository }) };
  };
  const started = new Started();

  const world: ModuleWorld = {
    api,
    client,
    registry,
    key,
    otherKey,
    async startController(options = {}) {
      const stop = runController(await api.client(undefined, 'kmm-operator'), {
        unusedDelay: 500,
        ...options,
      });
      started.add(stop);
      return stop;
    },
    async namespace(name) {
      await createNamespace(client, name);
      await client.create(configMaps, {
        metadata: { namespace: name, name: 'build' },
        data: { dockerfile: 'FROM scratch\n' },
      });
      for (const pair of [key, otherKey]) {
        await client.create(secrets, {
          metadata: { namespace: name, name: pair === key ? 'signing' : 'signing-2' },
          data: {
            cert: (await readFile(pair.certificate)).toString('base64'),
            key: (await readFile(pair.key)).toString('base64'),
          },
        });
      }
    },
    async namespaceWithNode(name, kernel) {
      await world.namespace(name);
      await createNode(client, { name, kernel, labels: { for: name } });
    },
    spec: (name, container, more = {}) => ({
      moduleLoader: {
        container: {
          modprobe: { moduleName: 'hello', dirName: '/opt' },
          containerImage: world.image(`${name}:\${KERNEL_FULL_VERSION}`),
          registryTLS: { insecure: true },
          kernelMappings: [{ regexp: '^.+$' }],
          ...container,
        },
      },
      selector: { for: name },
      ...more,
    }),
    image: (repository) => `${registry.host}/${repository}`,
    parseImage,
    async apply(namespace, spec, annotations = {}) {
      const module: CustomResource = { metadata: { namespace, name: 'driver', annotations }, spec };
      await client.apply(modules, module, { force: true, fieldManager: 'user' });
    },
    module: async (namespace) => parseModule(await client.get(modules, { namespace, name: 'driver' })),
    async eventually(namespace, check) {
      return vi.waitFor(async () => {
        const module = await world.module(namespace);
        check(module);
        return module;
      }, waiting);
    },
    jobs: (namespace) => listAll(client, jobs, { namespace }),
    daemonSets: (namespace) => listAll(client, daemonSets, { namespace }),
    events: (namespace, check) =>
      vi.waitFor(async () => check(await listAll(client, events, { namespace })), waiting),
    async activeJob(namespace, kind) {
      return vi.waitFor(async () => {
        const found = (await world.jobs(namespace)).filter(
          ({ metadata, status }) =>
            metadata.labels?.['kmm.node.kubernetes.io/job-type'] === kind && status?.conditions === undefined,
        );
        const [job] = found;
        if (job === undefined || found.length > 1) throw new Error(`${found.length} active ${kind} Jobs`);
        return job;
      }, waiting);
    },
    async build(job, content, path) {
      const digest = await world.push(builtImageOf(job), content, path);
      await completeJob(client, job);
      return digest;
    },
    async sign(job, by = key, ends = true) {
      const [source = '', destination = ''] = argumentsOf(job).slice(-2);
      const from = parseImage(source);
      const { digest } = from.reference;
      if (digest === undefined) throw new Error(`${source} is not pinned`);
      const to = parseImage(destination);
      const report = await signImage({
        source: { repository: from.repository, selector: { digest } },
        destination: { repository: to.repository, tag: to.reference.tag ?? 'latest' },
        signer: by.signer,
      });
      if (ends) await completeJob(client, job);
      return report.digest ?? '';
    },
    async push(image, content = '1', path = modulePath) {
      const { repository, reference } = parseImage(image);
      const layers = [
        { entries: withParents(path, await helloModule) },
        { entries: [{ name: 'version', content: Buffer.from(content) }] },
      ];
      return (await storeImage(repository, { layers }, reference.tag)).digest;
    },
    async [Symbol.asyncDispose]() {
      await started[Symbol.asyncDispose]();
      await registries.close();
      await registry.close();
      if (given === undefined) await api[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return world;
}
