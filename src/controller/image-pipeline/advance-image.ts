import type { ResolvedImage } from '../observe/images/resolve.ts';
import { jobs } from '../observe/cluster/resources.ts';
import { ignoreOutdated } from '../runtime/api/errors.ts';
import { findActiveJobs } from './active-jobs.ts';
import { readCertificate, readCredentials, readDockerfile, type Credentials } from './inputs.ts';
import { buildJobs, signJobs } from './job-manifests.ts';
import { usableLayerCache } from './layer-cache.ts';
import { nextStep, type ImageFacts, type Step } from './next-step.ts';
import type { PipelineRequest, PipelineResult, PipelineServices } from './request.ts';
import { runJob } from './run-job.ts';

/** The shortest time between checks of an image that is ready, in milliseconds. */
const minRecheckDelay = 1000;

/**
 * Takes the next steps towards a ready image: it is built if it does not exist or its recipe changed, and
 * signed if its modules do not have the certificate's signature. Keeps no state in memory, so it may be
 * called at any time, by several callers concurrently. Before a Job is created, everything is read again,
 * bypassing caches.
 * @throws PipelineError, BuilderError, RegistryError, ApiError, errors of reading references and of `confirm`
 */
export async function advanceImage(
  services: PipelineServices,
  request: PipelineRequest,
  signal: AbortSignal,
): Promise<PipelineResult> {
  const credentials = await readCredentials(services, request);
  const result = await takeSteps({ services, request, credentials, signal, mayCreate: false });
  return result ?? advanceImageUncached(services, request, signal);
}

/** Does the same without caches of images and references. */
export async function advanceImageUncached(
  services: PipelineServices,
  request: PipelineRequest,
  signal: AbortSignal,
): Promise<PipelineResult> {
  const uncached = withoutCaches(services, request);
  const credentials = await readCredentials(uncached, request);
  const result = await takeSteps({ services: uncached, request, credentials, signal, mayCreate: true });
  if (result === undefined) throw new TypeError('a run that may create Jobs must end with a result');
  return result;
}

/** One run of the pipeline. */
interface Run {
  readonly services: PipelineServices;
  readonly request: PipelineRequest;
  readonly credentials: Credentials;
  readonly signal: AbortSignal;
  /** Whether Jobs may be created: not on the basis of caches. */
  readonly mayCreate: boolean;
}

/** Takes steps until there is something to report; undefined if a Job must be created and may not. */
async function takeSteps(run: Run): Promise<PipelineResult | undefined> {
  let facts = initialFacts(run);
  for (;;) {
    const step = nextStep(run.request, facts);
    if (step.kind === 'report') {
      for (const job of step.repeat ?? []) await deleteJob(run, job);
      return withRecheck(run, withActiveJobs(run, facts, step.result));
    }
    const found = await takeStep(run, step, facts);
    if (found === undefined) return undefined;
    facts = { ...facts, ...found };
  }
}

/** Adds the Jobs that an image which is ready still needs: those that have made it, until they end. */
function withActiveJobs(run: Run, facts: ImageFacts, result: PipelineResult): PipelineResult {
  const { services, request, credentials } = run;
  const { phase, unsignedDigest } = result.state;
  if (phase !== 'Ready') return result;
  const active = findActiveJobs(services, request, { facts, unsignedDigest, credentials });
  return { ...result, jobs: [...new Set([...result.jobs, ...active])] };
}

/** Schedules the next check of an image that is ready: it may be deleted or overwritten in the registry. */
function withRecheck({ services, request, credentials }: Run, result: PipelineResult): PipelineResult {
  if (result.state.phase !== 'Ready') return result;
  const { image, registryTls: tls } = request.target;
  const access = { tls, pullSecrets: credentials.contents };
  const requeueAfter = Math.max(services.images.recheckAfter({ image, access }), minRecheckDelay);
  return { ...result, state: { ...result.state, requeueAfter } };
}

/** Returns the facts from the cluster's caches. */
function initialFacts({ services, request }: Run): ImageFacts {
  const { caches, now = Date.now } = services;
  const { earlier, namespace } = request;
  const isJobPhase = earlier?.phase === 'Building' || earlier?.phase === 'Signing';
  const job = earlier?.job === undefined ? undefined : caches.jobs.get({ namespace, name: earlier.job });
  return { activePhase: isJobPhase && job?.state === 'active' ? earlier.phase : undefined, now: now() };
}

/** Takes one step, and returns the fact that it found; undefined if it would have had to create a Job. */
async function takeStep(
  run: Run,
  step: Exclude<Step, { kind: 'report' }>,
  facts: ImageFacts,
): Promise<Partial<ImageFacts> | undefined> {
  switch (step.kind) {
    case 'resolve':
      return { [step.fact]: await resolve(run, step) };
    case 'read':
      return read(run, step.fact);
    case 'verify':
      return { [step.fact]: await verify(run, step.digest, facts) };
    case 'build': {
      const { dockerfile } = facts;
      if (dockerfile === undefined) throw new TypeError('a build needs a Dockerfile');
      const jobForAttempt = buildJobs(run.services.settings, run.request, { ...run, dockerfile });
      const build = await runJob(run.services, run.request, jobForAttempt, run);
      return build && { build };
    }
    case 'sign': {
      const { sign } = run.request.target;
      const { certificate } = facts;
      if (sign === undefined || certificate === undefined) throw new TypeError('signing needs a certificate');
      const jobForAttempt = signJobs(run.services.settings, run.request, {
        ...run,
        ...step,
        sign,
        certificate,
        // No other Job is created from this manifest.
        layerCache: run.mayCreate ? await usableLayerCache(run.services, run.request) : undefined,
      });
      const signature = await runJob(run.services, run.request, jobForAttempt, run);
      return signature && { signature };
    }
  }
}

async function resolve(
  { services: { images }, request: { namespace }, credentials, signal }: Run,
  { image, tls, uncached, lenient }: Extract<Step, { kind: 'resolve' }>,
): Promise<ResolvedImage | null> {
  if (uncached) images.forget(image);
  const access = { tls, pullSecrets: credentials.contents };
  try {
    return (await images.resolve({ image, access, namespace, signal })) ?? null;
  } catch (error) {
    if (lenient) return null;
    throw error;
  }
}

async function read(
  { services, request }: Run,
  fact: 'dockerfile' | 'certificate',
): Promise<Partial<ImageFacts>> {
  const { build, sign } = request.target;
  if (fact === 'dockerfile' && build !== undefined) {
    return { dockerfile: await readDockerfile(services, request, build) };
  }
  if (fact === 'certificate' && sign !== undefined) {
    return { certificate: await readCertificate(services, request, sign) };
  }
  throw new TypeError(`the target does not name a ${fact}`);
}

/** @returns what is wrong with the signatures, or null */
async function verify(
  { services: { images }, request, credentials, signal }: Run,
  digest: string,
  { certificate }: ImageFacts,
): Promise<string | null> {
  const { image, registryTls: tls, sign } = request.target;
  // Others in the Secret are issuers or earlier certificates.
  const signing = certificate?.certificates[0];
  if (sign === undefined || signing === undefined) throw new TypeError('verifying needs a certificate');
  const verdict = await images.verify({
    image,
    digest,
    namespace: request.namespace,
    access: { tls, pullSecrets: credentials.contents },
    certificates: [signing],
    files: sign.files,
    signal,
  });
  return verdict.state === 'signed' ? null : verdict.problem;
}

async function deleteJob(
  { services: { client }, signal }: Run,
  { key, uid }: NonNullable<Extract<Step, { kind: 'report' }>['repeat']>[number],
): Promise<void> {
  await client.delete(jobs, key, { uid, signal }).catch(ignoreOutdated);
}

/**
 * Returns services that bypass the caches of images and references. Caches may lag behind, and another
 * operator may have done the work meanwhile, and deleted its Jobs.
 */
function withoutCaches(services: PipelineServices, { target }: PipelineRequest): PipelineServices {
  const { references, images } = services;
  for (const image of [target.image, target.build?.image, target.sign?.unsignedImage]) {
    if (image !== undefined) images.forget(image);
  }
  return { ...services, references: references.fresh };
}
