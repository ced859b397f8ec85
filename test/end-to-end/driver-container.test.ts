import { execFile } from 'node:child_process';
import { mkdir, readFile, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import type { BuilderName } from '../../src/builder/builder.ts';
import { buildJob } from '../../src/builder/build-job.ts';
import { parseKernel } from '../../src/builder/kernel.ts';
import { configMaps, jobs, type Job } from '../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { RegistryClient } from '../../src/registry/image/client.ts';
import { inspectImage } from '../../src/signer/inspect-image.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../src/shared/temporary.ts';
import { buildAndSignTarget, buildInputs } from '../builder/targets.ts';
import { program } from '../cli/run-program.ts';
import { eventually, waitForJob } from '../cluster/wait-for.ts';
import { parseManifests, run } from '../deploy/manifests.ts';
import { clusterPrograms, startCluster, type Cluster } from '../support/cluster/cluster.ts';
import { buildahImage, kanikoImage, type LocalImage } from '../support/cluster/images.ts';
import type { TestNode } from '../support/cluster/kubelet.ts';
import { installDefinitions, type Definition } from '../support/custom-resources.ts';
import { kernelRelease } from '../support/debian-kernel.ts';
import { describeWith, requireProgram } from '../support/programs.ts';
import { startDockerRegistry, type TestRegistry } from '../support/registries.ts';
import { createTestKey, type TestKey } from '../support/signing.ts';
import { buildToolsPrograms } from './build-tools.ts';
import { pushImages } from './images.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const example = join(root, 'docs/examples/driver-container');
const documents = join(root, 'fixtures/documents/openshift-4.12');
const text = await readFile(join(root, 'docs/driver-containers.md'), 'utf8');
const [sign = '', openshift = ''] = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)]
  .filter(([, language]) => language === '')
  .map(([, , content = '']) => content);
const namespace = 'default';
const builderImages = {
  buildah: ['builder.example/buildah:v1', buildahImage()],
  kaniko: ['builder.example/kaniko:v1', kanikoImage()],
} as const satisfies Record<BuilderName, readonly [string, LocalImage]>;
/** OpenShift's own kinds, which take anything here: they are in no definition that could be installed. */
const ofOpenShift = [
  ['image.openshift.io', 'imagestreams', 'ImageStream'],
  ['build.openshift.io', 'buildconfigs', 'BuildConfig'],
] as const;

const programs = [
  ...clusterPrograms,
  ...buildToolsPrograms,
  'docker-registry',
  'buildah',
  'kaniko',
  'kubectl',
  'bash',
] as const;

describeWith(programs, 'the driver container of docs/driver-containers.md', () => {
  let directory: TemporaryDirectory;
  let cluster: Cluster;
  let client: ApiClient;
  let registry: TestRegistry;
  let registryClient: RegistryClient;
  let node: TestNode;
  let key: TestKey;

  beforeAll(async () => {
    directory = await createTemporaryDirectory();
    registry = await startDockerRegistry();
    registryClient = new RegistryClient({ plainHttp: true });
    await pushImages((name) => registryClient.repository({ registry: registry.host, repository: name }));
    cluster = await startCluster({
      prepare: (admin) => installDefinitions(admin, ofOpenShift.map(definitionOf)),
    });
    client = await cluster.client();
    const kubelet = await cluster.kubelet({ images: Object.fromEntries(Object.values(builderImages)) });
    node = await kubelet.addNode({
      name: 'worker-0',
      kernel: kernelRelease,
      labels: { 'node-role.kubernetes.io/worker': '' },
    });
    key = await createTestKey(directory.path, 'my_signing_key');
    const bin = join(directory.path, 'bin');
    await mkdir(bin);
    await symlink(requireProgram('kubectl'), join(bin, 'kubectl'));
    await symlink(program, join(bin, 'kmm-sign'));
  });
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
    await registryClient?.close();
    await registry?.close();
    await directory?.[Symbol.asyncDispose]();
  });

  /** Runs a command of the document, with this registry and these keys. */
  async function shell(command: string): Promise<string> {
    const filled = command
      .replaceAll('registry.example/', `${registry.host}/`)
      .replace('my_signing_key.priv', key.key)
      .replace('my_signing_key_pub.der', key.certificate)
      .replace('docs/examples/driver-container/driver-container.yaml', '-')
      .replace('0000-buildconfig.yaml', join(documents, '2.3.1-buildconfig.yaml'))
      .replace('1000-drivercontainer.yaml', join(documents, '2.3.1-drivercontainer.yaml'));
    const env = {
      PATH: `${join(directory.path, 'bin')}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
      HOME: directory.path,
      KUBECONFIG: cluster.kubeconfig,
    };
    const running = promisify(execFile)(requireProgram('bash'), ['-c', filled], { env });
    const manifest = await readFile(join(example, 'driver-container.yaml'), 'utf8');
    running.child.stdin?.end(manifest.replaceAll('registry.example/', `${registry.host}/`));
    return (await running).stdout;
  }

  const image = (tag: string) => ({
    repository: registryClient.repository({ registry: registry.host, repository: 'hello-driver-container' }),
    selector: { tag },
  });

  it.each(['kaniko', 'buildah'] as const)('is built from its Dockerfile by %s', async (builder) => {
    const dockerfile = await readFile(join(example, 'Dockerfile'), 'utf8');
    await client.apply(
      configMaps,
      { metadata: { name: builder, namespace }, data: { dockerfile } },
      { force: true },
    );
    const {
      build,
      sign: _sign,
      ...rest
    } = buildAndSignTarget({
      kernel: parseKernel(kernelRelease),
      image: `${registry.host}/hello-driver-container:unsigned`,
      registryTls: { insecure: true },
      tolerations: [],
      imageRepoSecret: undefined,
    });
    if (build === undefined) throw new Error('the target is built');
    const buildArgs = [
      { name: 'TOOLKIT', value: `${registry.host}/build-tools:bookworm` },
      { name: 'BASE', value: `${registry.host}/ubi:latest` },
    ];
    const built = {
      ...build,
      image: rest.image,
      buildArgs,
      secrets: [],
      dockerfileConfigMap: builder,
      baseImageRegistryTls: { insecure: true },
    };
    const inputs = buildInputs({
      dockerfile,
      architecture: 'amd64',
      userNamespaces: false,
      image: builderImages[builder][0],
      pullSecrets: [],
    });
    const { metadata: { name = '', labels = {} } = {}, spec } = buildJob(
      builder,
      { ...rest, sign: undefined, build: built },
      inputs,
    );
    if (spec === undefined) throw new Error('the Job says nothing');
    const job: Job = { metadata: { name, namespace, labels }, spec };
    await client.create(jobs, job);
    await waitForJob(client, job, 'Complete');
    const { platforms } = await inspectImage({ image: image('unsigned') });
    expect(platforms[0]?.modules).toMatchObject([{ path: `/lib/modules/${kernelRelease}/hello.ko` }]);
  });

  it('is signed by kmm-sign, and its pod loads the signed module', async () => {
    for (const command of sign.trim().split('\n')) {
      await shell(command.startsWith('kmm-sign') ? `${command} --plain-http` : command);
    }
    const { worst } = await inspectImage({ image: image('signed'), certificates: [key.signer.certificate] });
    expect(worst).toBe('trusted');
    await eventually(async () => {
      const loaded = node.loaded().get('hello');
      if (loaded === undefined) throw new Error('it is not loaded yet');
      expect(loaded.file).toBe(`/lib/modules/${kernelRelease}/hello.ko`);
    });
    await run('kubectl', [
      '--kubeconfig',
      cluster.kubeconfig,
      'delete',
      'daemonset',
      'hello-driver-container',
    ]);
    await eventually(async () => {
      if (node.loaded().has('hello')) throw new Error('it is still loaded');
      return Promise.resolve();
    });
  });

  it('has the objects of the documents for OpenShift, which are taken as they stand', async () => {
    const said: string[] = [];
    for (const command of openshift.trim().split('\n')) said.push(await shell(command));
    expect(said.join('')).toContain('imagestream.image.openshift.io/simple-kmod-driver-container created');
    expect(said.join('')).toContain('buildconfig.build.openshift.io/simple-kmod-driver-build created');
    expect(said.join('')).toContain('daemonset.apps/simple-kmod-driver-container created');
  });
});

describeWith(['kubectl'], 'docs/firmware.md', () => {
  it('has the MachineConfig of the documents, and a Module that names the path in the image', async () => {
    const page = await readFile(join(root, 'docs/firmware.md'), 'utf8');
    const [module, machine] = [...page.matchAll(/^```yaml\n(.*?)^```$/gms)].map(
      ([, content = '']) => parse(content) as object,
    );
    const documented = parse(await readFile(join(documents, '4.10.1-machine-config.yaml'), 'utf8')) as object;
    expect(machine).toEqual(documented);
    expect(module).toMatchObject({
      spec: { moduleLoader: { container: { modprobe: { firmwarePath: '/firmware' } } } },
    });
  });

  it('goes with an example whose objects are complete', async () => {
    const objects = parseManifests(await readFile(join(example, 'driver-container.yaml'), 'utf8'));
    const ofDocuments = parseAllDocuments(
      await readFile(join(documents, '2.3.1-drivercontainer.yaml'), 'utf8'),
    );
    expect(objects.map(({ kind }) => kind)).toEqual(
      ofDocuments.map((one) => (one.toJS() as { kind: string }).kind),
    );
  });
});

function definitionOf([group, plural, kind]: readonly [string, string, string]): Definition {
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
  const definition = {
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase() },
      versions: [{ name: 'v1', served: true, storage: true, schema }],
    },
  };
  return definition;
}
