import type { V1Container, V1Job, V1SecurityContext } from '@kubernetes/client-node';
import { buildArguments, contextDirectory, dockerfileMount, dockerfilePath } from './build-context.ts';
import { makeBuildJob } from './build-job.ts';
import type { BuildableTarget, Builder } from './builder.ts';
import { withTag } from './image-names.ts';
import { terminationLog } from './job.ts';
import type { BuildFacts } from './job-facts.ts';
import {
  buildSecrets,
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
export const kanikoBuilder: Builder = {
  name: 'kaniko',
  defaultImage,
  buildJob(target, facts): V1Job {
    return makeBuildJob({
      builder: 'kaniko',
      target,
      facts,
      container: container(target, facts),
      mounts: mounts(target.build, facts),
    });
  },
};

function container(target: BuildableTarget, facts: BuildFacts): V1Container {
  const { kanikoTag } = target.build;
  return {
    name: 'kaniko',
    image: kanikoTag === undefined ? facts.image : withTag(facts.image, kanikoTag),
    args: kanikoArguments(target, facts),
    env: [
      ...proxyEnvironment(facts.proxy),
      ...(facts.trustedCertificates === undefined
        ? []
        : [
            { name: 'SSL_CERT_FILE', value: trustedCertificatesFile },
            { name: 'SSL_CERT_DIR', value: ownCertificates },
          ]),
    ],
    securityContext,
  };
}

function mounts(build: BuildTarget, facts: BuildFacts): Mount[] {
  // Kaniko reads a single credentials file.
  const [pullSecret] = facts.pullSecrets;
  return [
    dockerfileMount(build, facts),
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
    ...trustedCertificatesMount(facts.trustedCertificates),
  ];
}

function kanikoArguments(target: BuildableTarget, facts: BuildFacts): string[] {
  const { build, registryTls } = target;
  const base = build.baseImageRegistryTls;
  return [
    ...(facts.push ? [`--destination=${build.image}`, `--digest-file=${terminationLog}`] : ['--no-push']),
    `--context=dir://${contextDirectory}`,
    `--dockerfile=${dockerfilePath}`,
    `--custom-platform=linux/${facts.architecture}`,
    ...buildArguments(target, facts.driverToolkitImage).map(
      ({ name, value }) => `--build-arg=${name}=${value}`,
    ),
    ...flag('--insecure-pull', base.insecure),
    ...flag('--skip-tls-verify-pull', base.insecureSkipTLSVerify),
    ...flag('--insecure', facts.push && registryTls.insecure),
    ...flag('--skip-tls-verify', facts.push && registryTls.insecureSkipTLSVerify),
  ];
}

function flag(name: string, isSet: boolean | undefined): string[] {
  return isSet === true ? [name] : [];
}
