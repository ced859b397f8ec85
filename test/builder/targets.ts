import { parseKernel } from '../../src/builder/kernel.ts';
import type { BuildInputs, SignInputs } from '../../src/builder/job-inputs.ts';
import type { ModuleTarget } from '../../src/builder/target.ts';

export const digest = `sha256:${'a1'.repeat(32)}`;

/** A target that is built, then signed. */
export function buildAndSignTarget(changes: Partial<ModuleTarget> = {}): ModuleTarget {
  return {
    module: { namespace: 'default', name: 'example-module' },
    kernel: parseKernel('5.14.0-70.58.1.el9_0.x86_64'),
    mapping: 0,
    image: 'registry.example/driver:final',
    registryTls: {},
    build: {
      image: 'registry.example/driver:final-default_example-module_kmm_unsigned',
      dockerfileConfigMap: 'example-module-dockerfile',
      buildArgs: [{ name: 'ARG_NAME', value: 'some value; $(id)' }],
      secrets: ['token', 'license.v2'],
      baseImageRegistryTls: {},
    },
    sign: {
      unsignedImage: 'registry.example/driver:final-default_example-module_kmm_unsigned',
      unsignedImageRegistryTls: {},
      keySecret: 'signing',
      certSecret: 'signing',
      files: ['/opt/lib/modules/5.14.0/a.ko'],
    },
    inTreeModulesToRemove: [],
    modprobe: { moduleName: 'simple_kmod', dirName: '/opt' },
    imageRepoSecret: 'repo-pull-secret',
    selector: { 'node-role.kubernetes.io/worker': '' },
    tolerations: [{ key: 'gpu', operator: 'Exists' }],
    ...changes,
  };
}

const owner = {
  apiVersion: 'kmm.sigs.x-k8s.io/v1beta1',
  kind: 'Module',
  name: 'example-module',
  uid: 'uid-1',
};

export function buildInputs(changes: Partial<BuildInputs> = {}): BuildInputs {
  return {
    namespace: 'default',
    owner,
    image: 'builder.example:5000/builder:v1@sha256:00',
    pullSecrets: [{ name: 'repo-pull-secret' }],
    attempt: 0,
    dockerfile: 'FROM scratch\n',
    dockerfileKey: 'dockerfile',
    architecture: 'arm64',
    userNamespaces: true,
    push: true,
    ...changes,
  };
}

export function signInputs(changes: Partial<SignInputs> = {}): SignInputs {
  return {
    namespace: 'default',
    owner,
    image: 'ghcr.example/kmm-sign:1.0.0',
    pullSecrets: [{ name: 'repo-pull-secret' }],
    attempt: 0,
    sourceDigest: digest,
    certificateFingerprint: 'ab'.repeat(32),
    ...changes,
  };
}
