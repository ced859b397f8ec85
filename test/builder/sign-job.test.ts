import { describe, expect, it } from 'vitest';
import { signJob } from '../../src/builder/sign-job.ts';
import { buildAndSignTarget, digest, signInputs } from './targets.ts';

const target = buildAndSignTarget();
const { sign } = target;
if (sign === undefined) throw new Error('The target is signed');

function podOf(...args: Parameters<typeof signJob>) {
  const pod = signJob(...args).spec?.template.spec;
  const [container] = pod?.containers ?? [];
  if (pod === undefined || container === undefined) throw new Error('The Job has no container');
  return { pod, container };
}

/** The name of the Job with changes to its inputs. */
function nameOf(changes: object, facts: object): string | undefined {
  return signJob({ ...target, ...changes }, signInputs(facts)).metadata?.name;
}

describe('a sign Job', () => {
  it('signs the digest that was found, not a tag', () => {
    const { container } = podOf(target, signInputs());
    expect(container.command).toEqual(['kmm-sign']);
    expect(container.args).toEqual([
      'sign',
      '--key=/run/kmm-sign/key/key',
      '--cert=/run/kmm-sign/certificate/cert',
      '--file=/opt/lib/modules/5.14.0/a.ko',
      '--pull-secret=/run/kmm-sign/credentials/0/.dockerconfigjson',
      '--digest-file=/dev/termination-log',
      '--',
      `registry.example/driver@${digest}`,
      'registry.example/driver:final',
    ]);
  });

  it('fits pod security "restricted"', () => {
    const { pod, container } = podOf(target, signInputs());
    expect(pod).toMatchObject({ automountServiceAccountToken: false });
    expect(pod.hostNetwork ?? pod.hostPID ?? pod.hostIPC).toBeUndefined();
    // https://kubernetes.io/docs/concepts/security/pod-security-standards/, "Restricted"
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    });
    const kinds = pod.volumes?.flatMap((volume) => Object.keys(volume).filter((key) => key !== 'name'));
    expect(new Set(kinds)).toEqual(new Set(['secret', 'emptyDir']));
  });

  it('mounts the key read-only, by itself, also when one Secret holds key and certificate', () => {
    const { pod, container } = podOf(target, signInputs());
    expect(pod.volumes?.find(({ name }) => name === 'key')?.secret).toEqual({
      secretName: 'signing',
      items: [{ key: 'key', path: 'key' }],
      defaultMode: 0o444,
    });
    const names = pod.volumes?.map(({ name }) => name) ?? [];
    expect(new Set(names).size).toBe(names.length);
    const writable = container.volumeMounts?.filter(({ readOnly }) => readOnly !== true);
    expect(writable?.map(({ mountPath }) => mountPath)).toEqual(['/tmp']);
  });

  it('cannot be given options through names of files', () => {
    const files = ['--dry-run', '/opt/a b.ko'];
    const { container } = podOf({ ...target, sign: { ...sign, files } }, signInputs());
    expect(container.args).toEqual(expect.arrayContaining(['--file=--dry-run', '--file=/opt/a b.ko']));
  });

  it('passes the TLS settings of each registry', () => {
    const changed = {
      ...target,
      registryTls: { insecure: true },
      sign: { ...sign, unsignedImageRegistryTls: { insecureSkipTLSVerify: true } },
    };
    const { container } = podOf(
      changed,
      signInputs({ trustedCertificates: { configMap: 'ca', key: 'ca.crt' } }),
    );
    expect(container.args).toEqual(
      expect.arrayContaining([
        '--from-insecure-skip-tls-verify',
        '--to-plain-http',
        '--ca-file=/run/kmm-sign/authorities/ca.crt',
      ]),
    );
    expect(container.args).not.toContain('--from-plain-http');
  });

  it('takes every pull secret, of both kinds', () => {
    const facts = signInputs({ pullSecrets: [{ name: 'a' }, { name: 'b', key: '.dockercfg' }] });
    expect(podOf(target, facts).container.args).toEqual(
      expect.arrayContaining([
        '--pull-secret=/run/kmm-sign/credentials/0/.dockerconfigjson',
        '--pull-secret=/run/kmm-sign/credentials/1/.dockercfg',
      ]),
    );
  });

  it('is another Job when source, certificate, files or destination change, and only then', () => {
    const same = nameOf({}, {});
    expect(nameOf({ modprobe: { moduleName: 'other', dirName: '/opt' } }, {})).toBe(same);
    const changed = [
      nameOf({ image: 'registry.example/driver:other' }, {}),
      nameOf({ sign: { ...sign, files: [] } }, {}),
      nameOf({}, { sourceDigest: `sha256:${'b2'.repeat(32)}` }),
      nameOf({}, { certificateFingerprint: 'cd'.repeat(32) }),
      nameOf({}, { attempt: 1 }),
    ];
    expect(new Set([same, ...changed]).size).toBe(changed.length + 1);
  });

  it('keeps what layers contain on a volume if there is one, within pod security "restricted"', () => {
    const { pod, container } = podOf(
      target,
      signInputs({ layerCache: { claim: 'layers', fsGroup: 65_532 } }),
    );
    const { name } =
      container.volumeMounts?.find(({ mountPath }) => mountPath === '/run/kmm-sign/cache') ?? {};
    expect(pod.volumes).toContainEqual({ name, persistentVolumeClaim: { claimName: 'layers' } });
    expect(container.env).toContainEqual({ name: 'XDG_CACHE_HOME', value: '/run/kmm-sign/cache' });
    const common = { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } };
    // With "Always", the kubelet would open the files to the group each time, and they would not be trusted.
    const fsGroupChangePolicy = 'OnRootMismatch';
    expect(pod.securityContext).toEqual({ ...common, fsGroupChangePolicy, fsGroup: 65_532 });
    const chosen = podOf(target, signInputs({ layerCache: { claim: 'layers', fsGroup: undefined } })).pod;
    expect(chosen.securityContext).toEqual({ ...common, fsGroupChangePolicy });
    expect(podOf(target, signInputs()).pod.securityContext).toEqual(common);
  });

  it('is the same Job with and without that volume: the result is the same image', () => {
    const layerCache = { claim: 'layers', fsGroup: undefined };
    expect(signJob(target, signInputs({ layerCache })).metadata).toEqual(
      signJob(target, signInputs()).metadata,
    );
  });

  it('carries labels that find it', () => {
    expect(signJob(target, signInputs()).metadata).toMatchObject({
      namespace: 'default',
      name: expect.stringMatching(/^example-module-sign-5-14-0-70-58-1-el9-0-x86-6?-?[a-z2-7]{16}$/),
      labels: {
        'kmm.node.kubernetes.io/module.name': 'example-module',
        'kmm.node.kubernetes.io/target-kernel': '5.14.0-70.58.1.el9_0.x86_64',
        'kmm.node.kubernetes.io/job-type': 'sign',
      },
      ownerReferences: [{ uid: 'uid-1' }],
    });
  });
});
