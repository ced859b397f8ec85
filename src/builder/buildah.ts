import type { V1Container, V1EnvVar, V1SecurityContext } from '@kubernetes/client-node';
import type { RegistryTls } from '../api/module/build-and-sign.ts';
import {
  buildArguments,
  contextDirectory,
  dockerfileMount,
  dockerfilePath,
  type BuildableTarget,
  type Builder,
} from './builder.ts';
import type { BuildInputs } from './job-inputs.ts';
import {
  buildSecretDirectory,
  buildSecrets,
  hostModules,
  hostModulesDirectory,
  proxyEnvironment,
  pullSecretFile,
  scratch,
  trustedCertificatesFile,
  trustedCertificatesMount,
  type Mount,
} from './mounts.ts';
import type { BuildTarget } from './target.ts';

const defaultImage = 'quay.io/buildah/stable:v1.40.1';
const scratchDirectory = '/var/tmp/buildah';
const credentialsDirectory = '/run/kmm-sign/credentials';

/**
 * The container's entire program. It never changes: user input arrives as arguments and in the environment,
 * not as script text.
 */
const script = [
  'set -eu',
  'buildah build --iidfile "$SCRATCH/image" "$@"',
  'if [ "$PUSH" = true ]; then',
  '  buildah push --tls-verify="$PUSH_TLS_VERIFY" --digestfile "$SCRATCH/digest" "$(cat "$SCRATCH/image")" "docker://$IMAGE"',
  '  cat "$SCRATCH/digest" > /dev/termination-log',
  'fi',
].join('\n');

/** In its own user namespace, the pod is root only of itself, and may mount. */
const insideUserNamespace: V1SecurityContext = {
  runAsUser: 0,
  capabilities: { add: ['SYS_ADMIN', 'MKNOD'] },
  appArmorProfile: { type: 'Unconfined' },
};

/** Otherwise Buildah creates the namespace itself, as the user of its image, with newuidmap. */
const asUser: V1SecurityContext = {
  runAsUser: 1000,
  runAsGroup: 1000,
  runAsNonRoot: true,
  allowPrivilegeEscalation: true,
  capabilities: { drop: ['ALL'], add: ['SETGID', 'SETUID'] },
  seccompProfile: { type: 'Unconfined' },
  appArmorProfile: { type: 'Unconfined' },
};

/** Builds with Buildah, without privileges on the node. */
export const buildahBuilder: Builder = {
  defaultImage,
  podSecurityContext: { fsGroup: 1000 },
  container,
  mounts,
};

function container(target: BuildableTarget, inputs: BuildInputs): V1Container {
  return {
    name: 'buildah',
    image: inputs.image,
    command: ['/bin/sh', '-c', script, 'buildah-build'],
    args: buildahArguments(target, inputs),
    env: environment(target, inputs),
    securityContext: inputs.userNamespaces ? insideUserNamespace : asUser,
  };
}

function environment(target: BuildableTarget, inputs: BuildInputs): V1EnvVar[] {
  return [
    { name: 'BUILDAH_ISOLATION', value: 'chroot' },
    // In a user namespace overlay works and is detected; elsewhere only copying (vfs) works everywhere.
    ...(inputs.userNamespaces ? [] : [{ name: 'STORAGE_DRIVER', value: 'vfs' }]),
    { name: 'SCRATCH', value: scratchDirectory },
    { name: 'TMPDIR', value: scratchDirectory },
    { name: 'PUSH', value: String(inputs.push) },
    { name: 'PUSH_TLS_VERIFY', value: String(verifiesTls(target.registryTls)) },
    { name: 'IMAGE', value: target.build.image },
    ...(inputs.pullSecrets.length === 0
      ? []
      : [{ name: 'REGISTRY_AUTH_FILE', value: `${credentialsDirectory}/config.json` }]),
    ...(inputs.trustedCertificates === undefined
      ? []
      : [
          { name: 'SSL_CERT_FILE', value: trustedCertificatesFile },
          { name: 'SSL_CERT_DIR', value: '/etc/pki/tls/certs:/etc/ssl/certs' },
        ]),
    ...proxyEnvironment(inputs.proxy),
  ];
}

function mounts(build: BuildTarget, inputs: BuildInputs): Mount[] {
  // Buildah reads a single credentials file.
  const [pullSecret] = inputs.pullSecrets;
  return [
    dockerfileMount(build, inputs),
    scratch('scratch', scratchDirectory),
    scratch('storage', inputs.userNamespaces ? '/var/lib/containers' : '/home/build/.local/share/containers'),
    ...(pullSecret === undefined
      ? []
      : [
          pullSecretFile(pullSecret, {
            volume: 'credentials',
            directory: credentialsDirectory,
            file: 'config.json',
          }),
        ]),
    ...buildSecrets(build.secrets),
    hostModules(),
    ...trustedCertificatesMount(inputs.trustedCertificates),
  ];
}

function buildahArguments(target: BuildableTarget, inputs: BuildInputs): string[] {
  return [
    `--tls-verify=${verifiesTls(target.build.baseImageRegistryTls)}`,
    `--platform=linux/${inputs.architecture}`,
    `--file=${dockerfilePath}`,
    ...buildArguments(target, inputs.driverToolkitImage).map(
      ({ name, value }) => `--build-arg=${name}=${value}`,
    ),
    `--volume=${hostModulesDirectory}:${hostModulesDirectory}:ro`,
    ...target.build.secrets.map((name) => {
      const directory = buildSecretDirectory(name);
      return `--volume=${directory}:${directory}:ro`;
    }),
    contextDirectory,
  ];
}

/** Buildah has a single switch: without verification it also uses plain HTTP. */
function verifiesTls({ insecure, insecureSkipTLSVerify }: RegistryTls): boolean {
  return insecure !== true && insecureSkipTLSVerify !== true;
}
