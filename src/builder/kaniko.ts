import type { V1Container, V1SecurityContext } from '@kubernetes/client-node';
import {
  buildArguments,
  contextDirectory,
  dockerfileMount,
  dockerfilePath,
  type BuildableTarget,
  type Builder,
} from './builder.ts';
import { withTag } from './image-names.ts';
import { terminationLog } from './job.ts';
import type { BuildInputs } from './job-inputs.ts';
import {
  buildSecrets,
  hostModules,
  proxyEnvironment,
  pullSecretFile,
  trustedCertificatesFile,
  trustedCertificatesMount,
  type Mount,
} from './mounts.ts';
import type { BuildTarget } from './target.ts';

/** The maintained fork of Kaniko. */
const defaultImage = 'ghcr.io/osscontainertools/kaniko:v1.27.6';
const dockerConfigDirectory = '/kaniko/.docker';
/** Where Kaniko's image keeps the public certificate authorities. */
const ownCertificates = '/kaniko/ssl/certs';

/** The minimum for unpacking layers as root and installing packages. */
const securityContext: V1SecurityContext = {
  runAsUser: 0,
  allowPrivilegeEscalation: false,
  capabilities: {
    drop: ['ALL'],
    add: [
      'CHOWN',
      'DAC_OVERRIDE',
      'FOWNER',
      'FSETID',
      'KILL',
      'MKNOD',
      'SETFCAP',
      'SETGID',
      'SETUID',
      'SYS_CHROOT',
    ],
  },
  seccompProfile: { type: 'RuntimeDefault' },
};

/** Builds with Kaniko, which runs a Dockerfile inside its own container. */
export const kanikoBuilder: Builder = { defaultImage, container, mounts };

function container(target: BuildableTarget, inputs: BuildInputs): V1Container {
  const { kanikoTag } = target.build;
  return {
    name: 'kaniko',
    image: kanikoTag === undefined ? inputs.image : withTag(inputs.image, kanikoTag),
    args: kanikoArguments(target, inputs),
    env: [
      ...proxyEnvironment(inputs.proxy),
      ...(inputs.trustedCertificates === undefined
        ? []
        : [
            { name: 'SSL_CERT_FILE', value: trustedCertificatesFile },
            { name: 'SSL_CERT_DIR', value: ownCertificates },
          ]),
    ],
    securityContext,
  };
}

function mounts(build: BuildTarget, inputs: BuildInputs): Mount[] {
  // Kaniko reads a single credentials file.
  const [pullSecret] = inputs.pullSecrets;
  return [
    dockerfileMount(build, inputs),
    ...(pullSecret === undefined
      ? []
      : [
          pullSecretFile(pullSecret, {
            volume: 'credentials',
            directory: dockerConfigDirectory,
            file: 'config.json',
          }),
        ]),
    ...buildSecrets(build.secrets),
    hostModules(),
    ...trustedCertificatesMount(inputs.trustedCertificates),
  ];
}

function kanikoArguments(target: BuildableTarget, inputs: BuildInputs): string[] {
  const { build, registryTls } = target;
  const base = build.baseImageRegistryTls;
  return [
    ...(inputs.push ? [`--destination=${build.image}`, `--digest-file=${terminationLog}`] : ['--no-push']),
    `--context=dir://${contextDirectory}`,
    `--dockerfile=${dockerfilePath}`,
    `--custom-platform=linux/${inputs.architecture}`,
    ...buildArguments(target, inputs.driverToolkitImage).map(
      ({ name, value }) => `--build-arg=${name}=${value}`,
    ),
    ...flag('--insecure-pull', base.insecure),
    ...flag('--skip-tls-verify-pull', base.insecureSkipTLSVerify),
    ...flag('--insecure', inputs.push && registryTls.insecure),
    ...flag('--skip-tls-verify', inputs.push && registryTls.insecureSkipTLSVerify),
  ];
}

function flag(name: string, isSet: boolean | undefined): string[] {
  return isSet === true ? [name] : [];
}
