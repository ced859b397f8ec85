import { X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parse } from 'yaml';
import {
  configMaps,
  deviceClasses,
  preflightValidations,
  secrets,
} from '../../../src/controller/observe/cluster/resources.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../src/shared/temporary.ts';
import { renderOverlay, run } from '../../deploy/manifests.ts';
import { writeKubeconfig } from '../../end-to-end/operator-process.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { createNamespace, endJob } from '../module/cluster-objects.ts';
import { startModuleWorld, type ModuleWorld } from '../module/module-world.ts';
import { runGather, type Gathering } from './run-gather.ts';

const kernel = '6.1.0-13-amd64';
const build = { dockerfileConfigMap: { name: 'build' } };
const sign = { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } };
/** A secret that must be nowhere. */
const password = 'hunter2-of-the-registry';

/** Kinds of trouble: the namespace, what its Module has, and what the summary must say of it. */
const troubles: Readonly<Record<string, { container: object; more?: object; says: string }>> = {
  'no-image': { container: {}, says: 'ImageNotFound' },
  'no-dockerfile': {
    container: { build: { dockerfileConfigMap: { name: 'absent' } } },
    says: 'refers to ConfigMap no-dockerfile/absent, which does not exist',
  },
  'no-certificate': {
    container: { build, sign: { ...sign, certSecret: { name: 'absent' } } },
    says: 'refers to Secret no-certificate/absent, which does not exist',
  },
  'no-pull-secret': {
    container: { build },
    more: { imageRepoSecret: { name: 'absent' } },
    says: 'refers to Secret no-pull-secret/absent, which does not exist',
  },
  'invalid-module': {
    container: { build },
    more: {
      devicePlugin: {
        container: { image: 'plugin' },
        volumes: [{ name: 'etc', hostPath: { path: '/etc/shadow' } }],
      },
    },
    says: 'Degraded is True (InvalidModule): spec.devicePlugin.volumes[0].hostPath.path',
  },
  'failed-build': { container: { build }, says: 'BuildFailed' },
  'forged-image': {
    container: { sign: { ...sign, unsignedImage: 'nowhere.invalid/x:1' } },
    says: 'Ready is False',
  },
};

describeWith([...apiServerPrograms, 'kubectl'], 'kmm-operator gather', () => {
  let world: ModuleWorld;
  let directory: TemporaryDirectory;
  let gathering: Gathering;

  beforeAll(async () => {
    directory = await createTemporaryDirectory();
    world = await startModuleWorld();
    const { client } = world;
    await createNamespace(client, 'kmm-operator-system');
    await client.create(configMaps, {
      metadata: { namespace: 'kmm-operator-system', name: 'proxy' },
      data: {
        proxy: `http://user:${password}@proxy.example:3128`,
        pem: await readFile(world.key.key, 'utf8'),
      },
    });
    await client.create(secrets, {
      metadata: { namespace: 'kmm-operator-system', name: 'registry' },
      type: 'Opaque',
      data: { password: Buffer.from(password).toString('base64'), nothing: '' },
    });
    await world.startController();
    for (const [name, { container, more }] of Object.entries(troubles)) {
      await world.namespaceWithNode(name, kernel);
      await world.apply(name, world.spec(name, container, more));
    }
    await world.namespace('healthy');
    await world.apply('healthy', world.spec('healthy', { build }));
    for (let attempt = 1; attempt <= 2; attempt += 1) {
      const job = await world.activeJob('failed-build', 'build');
      await endJob(client, job, 'Failed');
    }
    for (const name of Object.keys(troubles)) {
      await world.eventually(name, ({ status }) => {
        const isReady = status?.conditions?.find(({ type }) => type === 'Ready')?.status;
        const phase = status?.kernels?.[0]?.phase;
        if (isReady !== 'False') throw new Error(`${name} is not looked at yet`);
        if (name === 'failed-build' && phase !== 'Failed') throw new Error(`${name}: ${phase}`);
      });
    }
    await client.create(preflightValidations, {
      metadata: { name: 'next' },
      spec: { kernelVersion: '6.2.0' },
    });
    await client.create(deviceClasses, {
      metadata: { name: 'gpu.example', labels: { 'kmm.node.kubernetes.io/module.name': 'driver' } },
      spec: {},
    });
    // Last, since no pod answers for its webhook here.
    const items = await renderOverlay('kubernetes');
    const install = [
      '--kubeconfig',
      world.api.kubeconfig,
      'apply',
      '--server-side',
      '--force-conflicts',
      '-f',
      '-',
    ];
    await run('kubectl', install, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
    gathering = await runGather(world.api.kubeconfig, join(directory.path, 'all'));
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  const account = async (name: string): Promise<string> => {
    const common = ['--kubeconfig', world.api.kubeconfig, '--namespace=default'];
    await run('kubectl', [...common, 'create', 'serviceaccount', name]);
    const token = await run('kubectl', [...common, 'create', 'token', name]);
    const file = join(directory.path, `${name}.kubeconfig`);
    await writeKubeconfig(file, { like: world.api.kubeconfig, token: token.trim() });
    return file;
  };

  it('ends with 0 and says where to look', () => {
    expect(gathering).toMatchObject({ exitCode: 0 });
    expect(gathering.stderr).toContain('summary.md');
  });

  it.each(Object.entries(troubles))('says of the Module of %s what is wrong with it', (name, { says }) => {
    const lines = gathering.summary
      .split('\n')
      .filter((line) => line.startsWith(`- **Module ${name}/driver**`));
    expect(lines.join('\n')).toContain(says);
  });

  it('says nothing of a Module without trouble', () => {
    expect(gathering.summary).not.toContain('- **Module healthy/driver**');
    expect(gathering.summary).toContain('| Module healthy/driver | True | NoNodes |');
  });

  it('has our resources and what belongs to them, as oc adm inspect lays them out', async () => {
    const [job] = await world.jobs('failed-build');
    expect([...gathering.files.keys()]).toEqual(
      expect.arrayContaining([
        'version',
        'timestamp',
        'cluster-scoped-resources/core/nodes/failed-build.yaml',
        'cluster-scoped-resources/kmm.sigs.x-k8s.io/preflightvalidations/next.yaml',
        'cluster-scoped-resources/resource.k8s.io/deviceclasses/gpu.example.yaml',
        'cluster-scoped-resources/apiextensions.k8s.io/customresourcedefinitions/modules.kmm.sigs.x-k8s.io.yaml',
        'cluster-scoped-resources/admissionregistration.k8s.io/validatingwebhookconfigurations/kmm-operator-validating-webhook-configuration.yaml',
        'namespaces/failed-build/kmm.sigs.x-k8s.io/modules/driver.yaml',
        `namespaces/failed-build/batch/jobs/${job?.metadata.name}.yaml`,
        'namespaces/failed-build/core/configmaps/build.yaml',
        'namespaces/no-certificate/core/secrets/signing.yaml',
        'namespaces/kmm-operator-system/apps/deployments/kmm-operator-controller.yaml',
        'namespaces/kmm-operator-system/core/configmaps/proxy.yaml',
      ]),
    );
    const module = parse(
      gathering.files.get('namespaces/no-image/kmm.sigs.x-k8s.io/modules/driver.yaml') ?? '',
    ) as object;
    expect(module).toMatchObject({
      apiVersion: 'kmm.sigs.x-k8s.io/v1beta1',
      kind: 'Module',
      spec: { selector: { for: 'no-image' } },
      status: { conditions: expect.arrayContaining([]) as object },
    });
  });

  it('shows Secrets by name, and by the digest of their certificates', async () => {
    const { fingerprint256 } = new X509Certificate(await readFile(world.key.certificate));
    const text = gathering.files.get('namespaces/no-certificate/core/secrets/signing.yaml') ?? '';
    expect(parse(text)).toMatchObject({
      kind: 'Secret',
      keys: {
        cert: { certificates: [{ sha256: fingerprint256.replaceAll(':', '').toLowerCase() }] },
        key: { empty: false, certificates: [] },
      },
    });
    expect(gathering.summary).toContain('**Secret kmm-operator-system/registry**: key nothing is empty');
  });

  it('contains no secret: no value of a Secret, no private key, no password', async () => {
    const key = await readFile(world.key.key, 'utf8');
    const [, line = ''] = key.split('\n');
    const values = [
      password,
      Buffer.from(password).toString('base64'),
      line,
      Buffer.from(key).toString('base64').slice(0, 64),
    ];
    for (const [file, text] of gathering.files) {
      for (const value of values) expect([file, text.includes(value)]).toEqual([file, false]);
    }
    const proxy = gathering.files.get('namespaces/kmm-operator-system/core/configmaps/proxy.yaml');
    expect(proxy).toContain('http://[redacted]@proxy.example:3128');
  });

  it('can be compared: twice the same files, of an unchanged cluster', async () => {
    const again = await runGather(world.api.kubeconfig, join(directory.path, 'again'));
    expect(stable(again)).toEqual(stable(gathering));
    expect(stable(again).length).toBeGreaterThan(5);
  });

  it('replaces host names on request, the same in every file', async () => {
    const { files, summary } = await runGather(
      world.api.kubeconfig,
      join(directory.path, 'hosts'),
      '--anonymize-hosts',
    );
    const all = [...files.keys(), ...files.values()].join('\n');
    const nodes = [...files.keys()].filter((path) => path.includes('/core/nodes/'));
    expect(nodes).toHaveLength(Object.keys(troubles).length);
    expect(nodes.every((path) => /\/host-[0-9a-f]{10}\.yaml$/.test(path))).toBe(true);
    expect(all).not.toContain('127.0.0.1');
    expect(summary).toMatch(/\| host-[0-9a-f]{10} \| Unknown \| 6\.1\.0-13-amd64 \|/);
  });

  it('gives what it may read, and says what it may not', async () => {
    const kubeconfig = await account('reader');
    const common = ['--kubeconfig', world.api.kubeconfig, '--namespace=no-image'];
    const bound = ['--clusterrole=kmm-operator-module-viewer', '--serviceaccount=default:reader'];
    await run('kubectl', [...common, 'create', 'rolebinding', 'reader', ...bound]);
    const flags = ['--namespace', 'no-image'];
    const { exitCode, files, summary, stderr } = await runGather(
      kubeconfig,
      join(directory.path, 'reader'),
      ...flags,
    );
    expect(exitCode).toBe(0);
    expect([...files.keys()]).toContain('namespaces/no-image/kmm.sigs.x-k8s.io/modules/driver.yaml');
    expect([...files.keys()].filter((path) => path.includes('namespaces/failed-build'))).toEqual([]);
    const refused = summary.slice(summary.indexOf('## What could not be gathered'));
    expect(refused).toContain('- nodes in all namespaces: ');
    expect(refused).toContain('- secrets in no-image: ');
    expect(stderr).toContain('could not be gathered');
  });

  it('does not mix two gatherings', async () => {
    const { exitCode, stderr } = await runGather(world.api.kubeconfig, join(directory.path, 'all'));
    expect(exitCode).toBe(2);
    expect(stderr).toContain('already contains a gathering');
  });

  it('ends with 1 where no API server responds, and writes nothing', async () => {
    const text = await readFile(world.api.kubeconfig, 'utf8');
    const file = join(directory.path, 'nowhere.kubeconfig');
    await writeFile(file, text.replace(/(https:\/\/127\.0\.0\.1):\d+/, '$1:1'), { mode: 0o600 });
    const { exitCode, files } = await runGather(file, join(directory.path, 'nowhere'));
    expect([exitCode, files.size]).toEqual([1, 0]);
  });
});

/** The files that say the same while nothing happens: not events, and no leases. */
function stable({ files }: Gathering): (readonly [string, string])[] {
  const parts = ['/nodes/', '/invalid-module/', '/roles/'];
  return [...files].filter(([path]) => parts.some((part) => path.includes(part)));
}
