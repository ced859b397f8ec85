import { findDockerfile, type PullSecret } from '../../builder/job-inputs.ts';
import type { BuildTarget, SignTarget } from '../../builder/target.ts';
import type { PullSecretContent } from '../../registry/credentials/pull-secret.ts';
import { KmmError } from '../../shared/errors.ts';
import type { CertificateSecret } from '../observe/references/projections.ts';
import type { PipelineRequest, PipelineServices } from './request.ts';

/** Why work on an image is blocked until somebody changes something. */
export type PipelineErrorCode =
  /** The ConfigMap does not exist, or has no Dockerfile. */
  | 'DOCKERFILE_MISSING'
  | 'CERTIFICATE_SECRET_MISSING'
  | 'PULL_SECRET_MISSING'
  /** A Secret that a Job mounts: its pod would wait for it. */
  | 'SECRET_MISSING'
  /** The operator's configuration does not name it. */
  | 'SIGN_IMAGE_UNKNOWN'
  /** A build makes an image for only one architecture. */
  | 'SEVERAL_ARCHITECTURES'
  /** A build makes an image for only one kernel. */
  | 'SEVERAL_KERNELS';

/** Something that the Module names does not exist, or does not suffice. Its changes are watched. */
export class PipelineError extends KmmError<PipelineErrorCode> {
  override readonly name = 'PipelineError';
}

/** A Dockerfile, and its key in the ConfigMap. */
export interface Dockerfile {
  readonly key: string;
  readonly text: string;
}

/** Pull secrets: their contents for the operator, their names for Jobs. */
export interface Credentials {
  readonly contents: readonly PullSecretContent[];
  readonly names: readonly PullSecret[];
}

/**
 * Reads the pull secrets of a Module: the one that it names, else those of its pods' ServiceAccount.
 * @throws PipelineError PULL_SECRET_MISSING, and errors of reading
 */
export async function readCredentials(
  { references }: PipelineServices,
  { target, namespace }: PipelineRequest,
): Promise<Credentials> {
  const named = target.imageRepoSecret;
  const account = { namespace, name: target.serviceAccountName ?? 'default' };
  const names = named === undefined ? ((await references.serviceAccountPullSecrets(account)) ?? []) : [named];
  const found = await Promise.all(
    names.map(async (name) => ({ name, content: await references.pullSecret({ namespace, name }) })),
  );
  // Like the kubelet, ignore secrets of an account that do not exist.
  const present = found.flatMap(({ name, content }) => (content === undefined ? [] : [{ name, content }]));
  if (named !== undefined && present.length === 0) {
    throw new PipelineError({
      code: 'PULL_SECRET_MISSING',
      message: `The pull secret ${namespace}/${named}, which imageRepoSecret names, does not exist`,
      hint: 'Create it with kubectl create secret docker-registry, or remove imageRepoSecret.',
      facts: { namespace, secret: named },
    });
  }
  return {
    contents: present.map(({ content }) => content),
    names: present.map(({ name, content }) => ({ name, key: content.key })),
  };
}

/** Reads the Dockerfile of a build. @throws PipelineError DOCKERFILE_MISSING, and errors of reading */
export async function readDockerfile(
  { references }: PipelineServices,
  { namespace }: PipelineRequest,
  { dockerfileConfigMap: name }: BuildTarget,
): Promise<Dockerfile> {
  const data = await references.dockerfile({ namespace, name });
  const dockerfile = findDockerfile(data);
  if (dockerfile !== undefined) return dockerfile;
  throw new PipelineError({
    code: 'DOCKERFILE_MISSING',
    message:
      data === undefined
        ? `The ConfigMap ${namespace}/${name}, which build.dockerfileConfigMap names, does not exist`
        : `The ConfigMap ${namespace}/${name} has no key "dockerfile"`,
    hint: 'Create it with the Dockerfile under the key "dockerfile".',
    facts: { namespace, configMap: name },
  });
}

/** Reads the certificate to sign with. @throws PipelineError CERTIFICATE_SECRET_MISSING, and errors of reading */
export async function readCertificate(
  { references }: PipelineServices,
  { namespace }: PipelineRequest,
  { certSecret: name }: SignTarget,
): Promise<CertificateSecret> {
  const certificate = await references.certificate({ namespace, name });
  if (certificate !== undefined) return certificate;
  throw new PipelineError({
    code: 'CERTIFICATE_SECRET_MISSING',
    message: `The Secret ${namespace}/${name}, which sign.certSecret names, does not exist`,
    hint: 'Create it with the certificate under the key "cert".',
    facts: { namespace, secret: name },
  });
}
