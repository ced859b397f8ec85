import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { V1Job } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { BuilderName } from '../../src/builder/builder.ts';
import { buildJob } from '../../src/builder/build-job.ts';
import type { BuildInputs } from '../../src/builder/job-inputs.ts';
import { parseKernel } from '../../src/builder/kernel.ts';
import { kernelLabelValue, labelKeys } from '../../src/builder/labels.ts';
import { signJob } from '../../src/builder/sign-job.ts';
import type { ModuleTarget } from '../../src/builder/target.ts';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { describeFailure } from '../../src/controller/image-pipeline/job-failure.ts';
import { projectJob, projectPod } from '../../src/controller/observe/cluster/projections.ts';
import {
  configMaps,
  daemonSets,
  jobs,
  secrets,
  type DaemonSet,
  type Job,
  type Pod,
} from '../../src/controller/observe/cluster/resources.ts';
import { loaderSettings } from '../controller/module/module-facts.ts';
import { moduleLoaderDaemonSet } from '../../src/controller/module/loading/module-loader.ts';
import { RegistryClient } from '../../src/registry/image/client.ts';
import { silentLogger } from '../../src/shared/logger.ts';
import { Secret } from '../../src/shared/secret.ts';
import type { ImageRepository } from '../../src/registry/image/repository.ts';
import { createTemporaryDirectory } from '../../src/shared/temporary.ts';
import { inspectImage } from '../../src/signer/inspect-image.ts';
import { buildAndSignTarget, buildInputs, signInputs } from '../builder/targets.ts';
import { clusterPrograms, startCluster } from '../support/cluster/cluster.ts';
import { buildahImage, kanikoImage, kmmSignImage, type LocalImage } from '../support/cluster/images.ts';
import type { TestNode } from '../support/cluster/kubelet.ts';
import { makeTar, storeImage, withParents } from '../support/images.ts';
import { describeWith, requireProgram, type ProgramName } from '../support/programs.ts';
import { startDockerRegistry, testUser, type TestRegistry } from '../support/registries.ts';
import { createTestKey, helloModule, type TestKey } from '../support/signing.ts';
import { eventually, podsOf, waitForJob } from './wait-for.ts';

const namespace = 'default';
const builderImages = {
  buildah: ['builder.example/buildah:v1', buildahImage()],
  kaniko: ['builder.example/kaniko:v1', kanikoImage()],
} as const satisfies Record<BuilderName, readonly [string, LocalImage]>;
const kernel = buildAndSignTarget().kernel.release;
const moduleFile = `/opt/lib/modules/${kernel}/hello.ko`;
const moduleLoaders = { namespace, labelSelector: 'app.kubernetes.io/component=module-loader' };
const signImage = 'kmm-sign.example/kmm-sign:v1';

/** A busybox with two modules. RUN shows that commands run in the image that is built. */
const dockerfileFrom = (base: string): string =>
  [
    `FROM ${base}`,
    'ARG KERNEL_FULL_VERSION',
    'ARG ARG_NAME',
    // The node's modules, in which depmod would look for dependencies.
    'RUN [ -d /host/lib/modules/${KERNEL_FULL_VERSION} ] && mkdir -p /opt/lib/modules/${KERNEL_FULL_VERSION} && cp /hello.ko /opt/lib/modules/${KERNEL_FULL_VERSION}/',
    'COPY Dockerfile /Dockerfile',
    'LABEL argument="${ARG_NAME}"',
    '',
  ].join('\n');

const programs: readonly ProgramName[] = [...clusterPrograms, 'docker-registry', 'buildah', 'kaniko'];

describeWith(programs, 'Jobs in a cluster of the tests', () => {
  const resources = new AsyncDisposableStack();
  let client: ApiClient;
  let registry: TestRegistry;
  let registryClient: RegistryClient;
  let key: TestKey;
  let node: TestNode;

  beforeAll(async () => {
    registry = resources.use(await startDockerRegistry({ authentication: 'basic' }));
    const cluster = resources.use(await startCluster());
    client = await cluster.client();
    registryClient = new RegistryClient({
      plainHttp: true,
      credentials: {
        explicit: { username: testUser.username, password: new Secret<string>(testUser.password) },
      },
    });
    resources.defer(() => registryClient.close());
    const folder = resources.use(await createTemporaryDirectory());
    const kubelet = await cluster.kubelet({
      images: { ...Object.fromEntries(Object.values(builderImages)), [signImage]: kmmSignImage() },
    });
    node = await kubelet.addNode({
      name: 'worker-0',
      kernel,
      labels: {
        'node-role.kubernetes.io/worker': '',
        [labelKeys.kernel]: kernelLabelValue(parseKernel(kernel)),
      },
    });
    key = await createTestKey(folder.path);
    await pushBase();
    await createPullSecret();
    await client.create(secrets, {
      metadata: { name: 'signing', namespace },
      data: { key: await base64(key.key), cert: await base64(key.certificate) },
    });
  });
  afterAll(() => resources.disposeAsync());

  /** A Secret with the registry's credentials, under the name that targets have. */
  async function createPullSecret(): Promise<void> {
    const auth = btoa(`${testUser.username}:${testUser.password}`);
    await client.create(secrets, {
      metadata: { name: 'repo-pull-secret', namespace },
      type: 'kubernetes.io/dockerconfigjson',
      data: { '.dockerconfigjson': btoa(JSON.stringify({ auths: { [registry.host]: { auth } } })) },
    });
  }

  function repository(name: string): ImageRepository {
    return registryClient.repository({ registry: registry.host, repository: name });
  }

  async function pushBase(): Promise<void> {
    const busybox = await readFile(requireProgram('busybox'));
    const entries = [
      ...withParents('bin/busybox', busybox, { mode: 0o755 }),
      ...['sh', 'mkdir', 'cp', 'cat', 'sleep'].map((name) => ({
        name: `bin/${name}`,
        type: 'symlink' as const,
        linkname: 'busybox',
      })),
      { name: 'hello.ko', content: await helloModule },
    ];
    const config = { config: { Env: ['PATH=/bin'] } };
    await storeImage(repository('base'), { layers: [{ tar: await makeTar(entries) }], config }, 'v1');
  }

  /** A target whose images are in the registry. */
  function targetFor(name: string, dockerfileConfigMap: string): ModuleTarget {
    const { build, sign, ...rest } = buildAndSignTarget({
      image: `${registry.host}/${name}:final`,
      registryTls: { insecure: true },
      tolerations: [],
      modprobe: { moduleName: 'hello', dirName: '/opt' },
    });
    if (build === undefined || sign === undefined) throw new Error('The target is built and signed');
    const unsignedImage = `${registry.host}/${name}:unsigned`;
    const tls = { insecure: true };
    return {
      ...rest,
      build: { ...build, image: unsignedImage, secrets: [], dockerfileConfigMap, baseImageRegistryTls: tls },
      sign: { ...sign, unsignedImage, unsignedImageRegistryTls: tls, files: [] },
    };
  }

  async function run(job: V1Job, condition: 'Complete' | 'Failed' = 'Complete'): Promise<Pod> {
    const { metadata: { name = '', labels = {} } = {}, spec } = job;
    if (spec === undefined) throw new Error('The Job says nothing');
    // The Module that would own it is not there.
    const object: Job = { metadata: { name, namespace, labels }, spec };
    await client.create(jobs, object);
    return waitForJob(client, object, condition);
  }

  async function buildJobOf(
    builder: BuilderName,
    { dockerfile = dockerfileFrom(`${registry.host}/base:v1`), ...facts }: Partial<BuildInputs> = {},
  ): Promise<V1Job> {
    await client.apply(
      configMaps,
      { metadata: { name: builder, namespace }, data: { dockerfile } },
      { force: true },
    );
    const common = { dockerfile, architecture: 'amd64', userNamespaces: false };
    return buildJob(
      builder,
      targetFor(builder, builder),
      buildInputs({ ...common, image: builderImages[builder][0], ...facts }),
    );
  }

  async function runBuild(
    builder: BuilderName,
    facts: Partial<BuildInputs> = {},
  ): Promise<string | undefined> {
    return digestOf(await run(await buildJobOf(builder, facts)));
  }

  it.each(['buildah', 'kaniko'] as const)('%s builds and pushes the image of its Job', async (builder) => {
    const digest = await runBuild(builder);
    const inspect = [
      'inspect',
      '--tls-verify=false',
      `--creds=${testUser.username}:${testUser.password}`,
      `docker://${registry.host}/${builder}:unsigned`,
    ];
    const { stdout } = await promisify(execFile)(requireProgram('skopeo'), inspect);
    expect(JSON.parse(stdout)).toMatchObject({
      Digest: digest,
      Architecture: 'amd64',
      Labels: { argument: 'some value; $(id)' },
    });
    const image = { repository: repository(builder), selector: { tag: 'unsigned' } };
    const { platforms } = await inspectImage({ image });
    expect(platforms[0]?.modules).toMatchObject([{ path: '/hello.ko' }, { path: moduleFile }]);
  });

  it.each([
    ['buildah', 'RUN mak modules', /^Job \S+ failed \(exit code \d+\): \/bin\/sh: mak: not found$/],
    ['kaniko', 'RUN mak modules', /^Job \S+ failed \(exit code \d+\): \/bin\/sh: mak: not found$/],
    ['buildah', 'RUN cp hello.c /src', /: cp: can't stat 'hello.c': No such file or directory$/],
    ['kaniko', 'RUN cp hello.c /src', /: cp: can't stat 'hello.c': No such file or directory$/],
    [
      'buildah',
      'COPY missing.c /src/',
      /: Error: building at STEP "COPY missing.c .*no such file or directory$/,
    ],
    ['kaniko', 'COPY missing.c /src/', /: error building image: .*missing.c: no such file or directory$/],
  ] as const)('%s fails at %s, and the failure is described by that line', async (builder, step, line) => {
    const dockerfile = `FROM ${registry.host}/base:v1\nRUN cat Dockerfile || true\n${step}\n`;
    const job = await buildJobOf(builder, { dockerfile });
    const pod = projectPod(await run(job, 'Failed'));
    const failed = projectJob(await client.get(jobs, { namespace, name: job.metadata?.name ?? '' }));
    const services = { client, log: silentLogger, caches: { pods: { byIndex: () => [pod] } } };
    const signal = AbortSignal.timeout(10_000);
    expect(await describeFailure(services, failed, undefined, signal)).toMatch(line);
  });

  it('signs what was built, and a node loads the signed module, also after it has booted again', async () => {
    const target = targetFor('buildah', 'buildah');
    const job = signJob(
      target,
      signInputs({
        image: signImage,
        sourceDigest: (await runBuild('buildah', { attempt: 1 })) ?? '',
      }),
    );
    const digest = digestOf(await run(job)) ?? '';
    const image = {
      repository: repository('buildah'),
      selector: { tag: 'final' },
    };
    expect((await image.repository.getManifest(image.selector)).raw.digest).toBe(digest);
    const report = await inspectImage({ image, certificates: [key.signer.certificate] });
    expect(report).toMatchObject({ worst: 'trusted' });

    await client.create(daemonSets, moduleLoader(target, digest));
    await eventually(async () => {
      const [pod] = await podsOf(client, moduleLoaders);
      expect(pod?.status).toMatchObject({ phase: 'Running', containerStatuses: [{ ready: true }] });
    });
    expect(node.loaded().get('hello')).toMatchObject({ file: moduleFile, signer: 'signing' });
    expect(node.modprobeCalls).toMatchObject([
      { arguments: ['-v', '-d', '/opt', 'hello'], exitCode: 0, kernel },
    ]);

    await node.reboot();
    await eventually(async () => {
      const [pod] = await podsOf(client, moduleLoaders);
      expect(pod?.status?.containerStatuses).toMatchObject([{ ready: true, restartCount: 1 }]);
    });
    expect(node.loaded().size).toBe(1);

    await client.delete(daemonSets, { namespace, name: moduleLoader(target, digest).metadata.name });
    await eventually(async () => {
      expect(await podsOf(client, moduleLoaders)).toEqual([]);
    });
    expect(node.loaded().size).toBe(0);
    expect(node.modprobeCalls).toMatchObject([
      { action: 'load' },
      { action: 'load' },
      { action: 'unload', name: 'hello', exitCode: 0 },
    ]);
  });

  it('lets a module loader fail whose image lacks the module', async () => {
    const { raw } = await repository('base').getManifest({ tag: 'v1' });
    const target = { ...targetFor('base', 'none'), image: `${registry.host}/base:v1` };
    await client.create(daemonSets, moduleLoader(target, raw.digest));
    await eventually(async () => {
      const [pod] = await podsOf(client, moduleLoaders);
      expect(pod?.status?.containerStatuses?.[0]).toMatchObject({
        ready: false,
        lastState: {
          terminated: {
            exitCode: 1,
            message: expect.stringContaining(
              `Module hello not found in directory /opt/lib/modules/${kernel}`,
            ),
          },
        },
      });
    });
    expect(node.loaded().size).toBe(0);
  });
});

function moduleLoader(target: ModuleTarget, digest: string): DaemonSet {
  const owner = { apiVersion: 'v1', kind: 'Namespace', name: namespace, uid: 'nobody' };
  const operator = {
    namespace: 'kmm',
    moduleLoaderServiceAccount: 'loader',
    devicePluginServiceAccount: 'plugin',
  };
  const { metadata = {}, spec } = moduleLoaderDaemonSet(
    target,
    { digest, delivery: 'copy' },
    { operator, owner, loader: loaderSettings, loaderImage: signImage },
  );
  if (spec === undefined) throw new Error('The DaemonSet says nothing');
  const { name = '', labels = {} } = metadata;
  return { metadata: { name, namespace, labels }, spec };
}

function digestOf(pod: Pod): string | undefined {
  return pod.status?.containerStatuses?.[0]?.state?.terminated?.message;
}

async function base64(file: string): Promise<string> {
  return (await readFile(file)).toString('base64');
}
