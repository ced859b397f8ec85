import type { V1Container, V1Job } from '@kubernetes/client-node';
import type { RegistryTls } from '../api/module/registry-tls.ts';
import { BuilderError } from './errors.ts';
import { withDigest } from './image-names.ts';
import { makeJob, terminationLog } from './job.ts';
import type { SignFacts } from './job-facts.ts';
import { signHash } from './job-hash.ts';
import {
  proxyEnvironment,
  pullSecretFile,
  scratch,
  secretFile,
  trustedCertificatesFile,
  trustedCertificatesMount,
  type Mount,
} from './mounts.ts';
import { layTemplates } from './overlay.ts';
import type { ModuleTarget, SignTarget } from './target.ts';

const keyDirectory = '/run/kmm-sign/key';
const certificateDirectory = '/run/kmm-sign/certificate';
const credentialsDirectory = '/run/kmm-sign/credentials';

/**
 * Creates the Job that signs a target's image with `kmm-sign sign`, under pod security "restricted". The
 * source is pinned by digest. The digest of the result goes to the termination message.
 * @throws BuilderError INCOMPLETE_MODULE if the target has nothing to sign
 */
export function signJob(target: ModuleTarget, facts: SignFacts): V1Job {
  const { sign } = target;
  if (sign === undefined) {
    throw new BuilderError({
      code: 'INCOMPLETE_MODULE',
      message: `Module ${target.module.namespace}/${target.module.name} does not say how to sign ${target.image}`,
      hint: 'Add a sign section to the container or to the kernel mapping.',
    });
  }
  return makeJob({
    kind: 'sign',
    target,
    facts,
    hash: signHash(target, facts),
    container: container(target, sign, facts),
    mounts: mounts(sign, facts),
    settings: layTemplates(facts.podTemplate, sign.podTemplate),
    nodeSelector: {},
    tolerations: target.tolerations,
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
  });
}

function container(target: ModuleTarget, sign: SignTarget, facts: SignFacts): V1Container {
  return {
    name: 'sign',
    image: facts.image,
    command: ['kmm-sign'],
    args: signArguments(target, sign, facts),
    env: [{ name: 'HOME', value: '/tmp' }, ...proxyEnvironment(facts.proxy)],
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
  };
}

function mounts(sign: SignTarget, facts: SignFacts): Mount[] {
  return [
    secretFile({
      volume: 'key',
      source: sign.keySecret,
      key: 'key',
      directory: keyDirectory,
      file: 'key',
    }),
    secretFile({
      volume: 'certificate',
      source: sign.certSecret,
      key: 'cert',
      directory: certificateDirectory,
      file: 'cert',
    }),
    ...facts.pullSecrets.map((secret, index) =>
      pullSecretFile(secret, {
        volume: `credentials-${index}`,
        directory: `${credentialsDirectory}/${index}`,
        file: secret.key ?? '.dockerconfigjson',
      }),
    ),
    ...trustedCertificatesMount(facts.trustedCertificates),
    scratch('tmp', '/tmp'),
  ];
}

function signArguments(target: ModuleTarget, sign: SignTarget, facts: SignFacts): string[] {
  return [
    'sign',
    `--key=${keyDirectory}/key`,
    `--cert=${certificateDirectory}/cert`,
    ...sign.files.map((file) => `--file=${file}`),
    ...facts.pullSecrets.map(
      ({ key }, index) => `--pull-secret=${credentialsDirectory}/${index}/${key ?? '.dockerconfigjson'}`,
    ),
    ...(facts.trustedCertificates === undefined ? [] : [`--ca-file=${trustedCertificatesFile}`]),
    ...tlsFlags('from', sign.unsignedImageRegistryTls),
    ...tlsFlags('to', target.registryTls),
    `--digest-file=${terminationLog}`,
    '--',
    withDigest(sign.unsignedImage, facts.sourceDigest),
    target.image,
  ];
}

function tlsFlags(side: 'from' | 'to', { insecure, insecureSkipTLSVerify }: RegistryTls): string[] {
  return [
    ...(insecure === true ? [`--${side}-plain-http`] : []),
    ...(insecureSkipTLSVerify === true ? [`--${side}-insecure-skip-tls-verify`] : []),
  ];
}
