import { describe, expect, it } from 'vitest';
import { buildJob, builders } from '../../src/builder/build-job.ts';
import { builderNames, type BuilderName } from '../../src/builder/builder.ts';
import { buildAndSignTarget, buildInputs } from './targets.ts';

const target = buildAndSignTarget();
const { build } = target;
if (build === undefined) throw new Error('The target is built');

function podOf(...args: Parameters<typeof buildJob>) {
  const pod = buildJob(...args).spec?.template.spec;
  const [container] = pod?.containers ?? [];
  if (pod === undefined || container === undefined) throw new Error('The Job has no container');
  return { pod, container };
}

/** Makes a function that gives the name of the Job with changes to its inputs. */
function nameWith(builder: BuilderName) {
  return (changes: object, facts: object): string | undefined =>
    buildJob(builder, { ...target, ...changes }, buildInputs(facts)).metadata?.name;
}

describe.each(builderNames)('a build Job with %s', (builder) => {
  it('runs once, without a token, on nodes of the right architecture', () => {
    const { spec } = buildJob(builder, target, buildInputs());
    expect(spec?.backoffLimit).toBe(0);
    expect(spec?.template.spec).toMatchObject({
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      hostUsers: false,
      nodeSelector: {
        'node-role.kubernetes.io/worker': '',
        'kubernetes.io/arch': 'arm64',
        'kubernetes.io/os': 'linux',
      },
      tolerations: target.tolerations,
      imagePullSecrets: [{ name: 'repo-pull-secret' }],
    });
  });

  it('sees the Dockerfile, whatever case its key has', () => {
    const { pod } = podOf(builder, target, buildInputs({ dockerfileKey: 'Dockerfile' }));
    expect(pod.volumes?.find(({ name }) => name === 'dockerfile')?.configMap).toEqual({
      name: 'example-module-dockerfile',
      items: [{ key: 'Dockerfile', path: 'Dockerfile' }],
      defaultMode: 0o444,
    });
  });

  it('sees its Secrets below /run/secrets, also those with dots in their names', () => {
    const { pod, container } = podOf(builder, target, buildInputs());
    for (const name of ['token', 'license.v2']) {
      const volume = pod.volumes?.find(({ secret }) => secret?.secretName === name);
      expect(volume?.name).toMatch(/^[a-z0-9-]{1,63}$/);
      expect(container.volumeMounts?.find((mount) => mount.name === volume?.name)).toMatchObject({
        mountPath: `/run/secrets/${name}`,
        readOnly: true,
      });
    }
  });

  it('sees the modules of its node, read-only, for dependencies that are in the kernel’s tree', () => {
    const { pod, container } = podOf(builder, target, buildInputs());
    expect(pod.volumes).toContainEqual({ name: 'node-lib-modules', hostPath: { path: '/lib/modules' } });
    expect(container.volumeMounts).toContainEqual({
      name: 'node-lib-modules',
      mountPath: '/host/lib/modules',
      readOnly: true,
    });
  });

  it('mounts every volume once, under names of its own', () => {
    const certificates = { configMap: 'ca', key: 'ca-bundle.crt' };
    const { pod, container } = podOf(builder, target, buildInputs({ trustedCertificates: certificates }));
    const volumes = pod.volumes?.map(({ name }) => name) ?? [];
    expect(new Set(volumes).size).toBe(volumes.length);
    expect(container.volumeMounts?.map(({ name }) => name)).toEqual(volumes);
  });

  it('injects arguments over those of the user', () => {
    const own = { ...build, buildArgs: [{ name: 'KERNEL_VERSION', value: 'mine' }, ...build.buildArgs] };
    const facts = buildInputs({
      dockerfile: 'ARG DTK_AUTO\n',
      driverToolkitImage: 'dtk.example/dtk@sha256:11',
    });
    const { container } = podOf(builder, { ...target, build: own }, facts);
    expect(container.args?.filter((argument) => argument.startsWith('--build-arg='))).toEqual([
      '--build-arg=ARG_NAME=some value; $(id)',
      '--build-arg=KERNEL_VERSION=5.14.0-70.58.1.el9_0.x86_64',
      '--build-arg=KERNEL_FULL_VERSION=5.14.0-70.58.1.el9_0.x86_64',
      '--build-arg=MOD_NAME=example-module',
      '--build-arg=MOD_NAMESPACE=default',
      '--build-arg=DTK_AUTO=dtk.example/dtk@sha256:11',
    ]);
  });

  it('is not made when the Driver Toolkit image is not known', () => {
    expect(() => buildJob(builder, target, buildInputs({ dockerfile: 'FROM ${DTK_AUTO}\n' }))).toThrow(
      /DTK_AUTO.*5\.14\.0-70/,
    );
  });

  it('is not made from a Module that builds nothing', () => {
    const { build: _none, ...unbuilt } = target;
    expect(() => buildJob(builder, unbuilt, buildInputs())).toThrow(/does not say how to build/);
  });

  it('lays the settings of the Module over those of the operator', () => {
    const podTemplate = {
      labels: { team: 'b', 'kmm.node.kubernetes.io/job-type': 'x' },
      priorityClassName: 'high',
    };
    const facts = buildInputs({
      podTemplate: {
        labels: { team: 'a' },
        activeDeadlineSeconds: 60,
        resources: { limits: { memory: '4Gi' } },
      },
    });
    const job = buildJob(builder, { ...target, build: { ...build, podTemplate } }, facts);
    expect(job.spec?.activeDeadlineSeconds).toBe(60);
    expect(job.spec?.template.spec?.priorityClassName).toBe('high');
    expect(job.spec?.template.spec?.containers[0]?.resources).toEqual({ limits: { memory: '4Gi' } });
    expect(job.spec?.template.metadata?.labels).toMatchObject({
      team: 'b',
      'kmm.node.kubernetes.io/job-type': 'build',
    });
  });

  it('is the same Job for the same inputs, and another when one of them changes', () => {
    const nameOf = nameWith(builder);
    const same = nameOf({}, {});
    expect(nameOf({}, {})).toBe(same);
    const changed = [
      nameOf({ build: { ...build, buildArgs: [] } }, {}),
      nameOf({ build: { ...build, secrets: [] } }, {}),
      nameOf({ build: { ...build, image: 'registry.example/other:1' } }, {}),
      nameOf({ build: { ...build, baseImageRegistryTls: { insecure: true } } }, {}),
      nameOf({ registryTls: { insecure: true } }, {}),
      nameOf({ imageRebuildTriggerGeneration: 1 }, {}),
      nameOf({}, { dockerfile: 'FROM scratch\n# changed\n' }),
      nameOf({}, { architecture: 'amd64' }),
      nameOf({}, { attempt: 1 }),
      nameOf({}, { retry: 'now' }),
      nameOf({}, { push: false }),
    ];
    expect(new Set([same, ...changed]).size).toBe(changed.length + 1);
  });

  it('has a default image', () => {
    expect(builders[builder].defaultImage).toMatch(/^[a-z0-9.]+\/[a-z/]+:v\d/);
  });
});

describe('a build Job with Kaniko', () => {
  it('is told where to read, where to push and what to trust', () => {
    const tls = { ...build, baseImageRegistryTls: { insecure: true, insecureSkipTLSVerify: true } };
    const pushTls = { insecure: true, insecureSkipTLSVerify: true };
    const { container } = podOf('kaniko', { ...target, build: tls, registryTls: pushTls }, buildInputs());
    expect(container.args).toEqual(
      expect.arrayContaining([
        '--destination=registry.example/driver:final-default_example-module_kmm_unsigned',
        '--digest-file=/dev/termination-log',
        '--context=dir:///workspace',
        '--dockerfile=/workspace/Dockerfile',
        '--custom-platform=linux/arm64',
        '--insecure-pull',
        '--skip-tls-verify-pull',
        '--insecure',
        '--skip-tls-verify',
      ]),
    );
  });

  it('pushes nothing where only the build is tried', () => {
    const { container } = podOf(
      'kaniko',
      { ...target, registryTls: { insecure: true } },
      buildInputs({ push: false }),
    );
    expect(container.args).toContain('--no-push');
    expect(container.args?.join(' ')).not.toMatch(/--destination|--insecure/);
  });

  it('takes the tag of kanikoParams', () => {
    const { container } = podOf(
      'kaniko',
      { ...target, build: { ...build, kanikoTag: 'debug' } },
      buildInputs(),
    );
    expect(container.image).toBe('builder.example:5000/builder:debug');
  });
});

describe('a build Job with Buildah', () => {
  it('runs a program that nothing of the Module gets into', () => {
    const [one, other] = [target, { ...target, build: { ...build, image: 'r.example/$(id):1' } }].map(
      (each) => podOf('buildah', each, buildInputs()).container,
    );
    expect(one?.command).toEqual(other?.command);
    expect(other?.env).toContainEqual({ name: 'IMAGE', value: 'r.example/$(id):1' });
  });

  it('has no privileges on the node, with and without user namespaces', () => {
    const inside = podOf('buildah', target, buildInputs());
    const outside = podOf('buildah', target, buildInputs({ userNamespaces: false }));
    expect(inside.pod.hostUsers).toBe(false);
    expect(outside.pod.hostUsers).toBeUndefined();
    expect(outside.container.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 1000 });
    for (const { container } of [inside, outside])
      expect(container.securityContext?.privileged).toBeUndefined();
  });

  it('shows Secrets to the steps of the Dockerfile', () => {
    expect(podOf('buildah', target, buildInputs()).container.args).toContain(
      '--volume=/run/secrets/token:/run/secrets/token:ro',
    );
  });
});
