import type { V1Container, V1Job, V1PodSecurityContext } from '@kubernetes/client-node';
import type { RegistryTls } from '../api/module/build-and-sign.ts';
import { withDigest } from './image-names.ts';
import { makeJob, terminationLog } from './job.ts';
import type { SignInputs } from './job-inputs.ts';
import { signHash } from './job-hash.ts';
import {
  layerCacheDirectory,
  layerCacheMount,
  proxyEnvironment,
  pullSecretFile,
  scratch,
  secretFile,
  trustedCertificatesFile,
  trustedCertificatesMount,
  type Mount,
} from './mounts.ts';
import { BuilderError, type ModuleTarget, type SignTarget } from './target.ts';

const keyDirectory = '/run/kmm-sign/key';
const certificateDirectory = '/run/kmm-sign/certificate';
const credentialsDirectory = '/run/kmm-sign/credentials';

/**
 * Creates the Job that signs a target's image with `kmm-sign sign`, under pod security "restricted". The
 * source is pinned by digest. The digest of the result goes to the termination message.
 * @throws BuilderError INCOMPLETE_MODULE if the target has nothing to sign
 */
export function signJob(target: ModuleTarget, inputs: SignInputs): V1Job {
  const { sign } = target;
  if (sign === undefined) {
    throw new BuilderError({
      code: 'INCOMPLETE_MODULE',
      message: `Module ${target.module.namespace}/${target.module.name} does not say how to sign ${target.image}`,
      hint: 'Add a sign section to the container or to the kernel mapping.',
    });
  }
  return makeJob(target, inputs, {
    kind: 'sign',
    hash: signHash(target, inputs),
    container: container(target, sign, inputs),
    mounts: mounts(sign, inputs),
    podTemplate: sign.podTemplate,
    nodeSelector: {},
    securityContext: podSecurityContext(inputs),
  });
}

function podSecurityContext({ layerCache }: SignInputs): V1PodSecurityContext {
  const context: V1PodSecurityContext = { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } };
  if (layerCache === undefined) return context;
  // Otherwise the kubelet lets the group write to all files each time, and the program trusts none of these.
  context.fsGroupChangePolicy = 'OnRootMismatch';
  if (layerCache.fsGroup !== undefined) context.fsGroup = layerCache.fsGroup;
  return context;
}

function container(target: ModuleTarget, sign: SignTarget, inputs: SignInputs): V1Container {
  return {
    name: 'sign',
    image: inputs.image,
    command: ['kmm-sign'],
    args: signArguments(target, sign, inputs),
    env: [
      { name: 'HOME', value: '/tmp' },
      ...(inputs.layerCache === undefined ? [] : [{ name: 'XDG_CACHE_HOME', value: layerCacheDirectory }]),
      ...proxyEnvironment(inputs.proxy),
    ],
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
  };
}

function mounts(sign: SignTarget, inputs: SignInputs): Mount[] {
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
    ...inputs.pullSecrets.map((secret, index) =>
      pullSecretFile(secret, {
        volume: `credentials-${index}`,
        directory: `${credentialsDirectory}/${index}`,
        file: secret.key ?? '.dockerconfigjson',
      }),
    ),
    ...trustedCertificatesMount(inputs.trustedCertificates),
    ...layerCacheMount(inputs.layerCache),
    scratch('tmp', '/tmp'),
  ];
}

function signArguments(target: ModuleTarget, sign: SignTarget, inputs: SignInputs): string[] {
  return [
    'sign',
    `--key=${keyDirectory}/key`,
    `--cert=${certificateDirectory}/cert`,
    ...sign.files.map((file) => `--file=${file}`),
    ...inputs.pullSecrets.map(
      ({ key }, index) => `--pull-secret=${credentialsDirectory}/${index}/${key ?? '.dockerconfigjson'}`,
    ),
    ...(inputs.trustedCertificates === undefined ? [] : [`--ca-file=${trustedCertificatesFile}`]),
    ...tlsFlags('from', sign.unsignedImageRegistryTls),
    ...tlsFlags('to', target.registryTls),
    `--digest-file=${terminationLog}`,
    '--',
    withDigest(sign.unsignedImage, inputs.sourceDigest),
    target.image,
  ];
}

function tlsFlags(side: 'from' | 'to', { insecure, insecureSkipTLSVerify }: RegistryTls): string[] {
  return [
    ...(insecure === true ? [`--${side}-plain-http`] : []),
    ...(insecureSkipTLSVerify === true ? [`--${side}-insecure-skip-tls-verify`] : []),
  ];
}
