import type { SignFacts } from '../../builder/job-facts.ts';
import { signJob } from '../../builder/sign-job.ts';
import type { SignTarget } from '../../builder/target.ts';
import type { CertificateSecret } from '../references/kept.ts';
import type { Credentials } from './inputs.ts';
import { progressJob, type JobProgress } from './job-progress.ts';
import type { PipelineRequest } from './request.ts';
import { PipelineError } from './errors.ts';
import type { PipelineServices, PipelineSettings } from './services.ts';

/** An image by tag, and the digest that the tag had. */
export interface SignSource {
  readonly image: string;
  readonly digest: string;
}

export interface SignStep {
  readonly sign: SignTarget;
  readonly source: SignSource;
  readonly certificate: Pick<CertificateSecret, 'fingerprint'>;
  readonly credentials: Credentials;
  readonly signal: AbortSignal;
}

/** Signs an image by a Job. @throws PipelineError SIGN_IMAGE_UNKNOWN */
export function progressSignature(
  services: PipelineServices,
  request: PipelineRequest,
  { sign, source, certificate, credentials, signal }: SignStep,
): Promise<JobProgress> {
  const { settings } = services;
  const { target, namespace, owner } = request;
  const facts: Omit<SignFacts, 'attempt'> = {
    namespace,
    ...(owner === undefined ? {} : { owner }),
    ...(request.shared === true ? { shared: true } : {}),
    image: signImageOf(settings),
    pullSecrets: credentials.names,
    ...(settings.trustedCertificates && { trustedCertificates: settings.trustedCertificates }),
    ...(settings.proxy && { proxy: settings.proxy }),
    ...(settings.signPodTemplate && { podTemplate: settings.signPodTemplate }),
    ...(request.retry === undefined ? {} : { retry: request.retry }),
    sourceDigest: source.digest,
    certificateFingerprint: certificate.fingerprint,
  };
  const signed = { ...target, sign: { ...sign, unsignedImage: source.image } };
  return progressJob(services, {
    namespace,
    jobOf: (attempt) => signJob(signed, { ...facts, attempt }),
    earlier: request.earlier,
    confirm: request.confirm,
    signal,
  });
}

function signImageOf({ signImage }: PipelineSettings): string {
  if (signImage !== undefined) return signImage;
  throw new PipelineError({
    code: 'SIGN_IMAGE_UNKNOWN',
    message: 'The operator was not told which image holds kmm-sign',
    hint: 'Set sign.image in its configuration, or RELATED_IMAGE_SIGN in its environment.',
  });
}
