import type { RegistryTls } from '../../api/module/registry-tls.ts';
import { buildInputsHash } from '../../builder/job-hash.ts';
import type { BuildTarget, SignTarget } from '../../builder/target.ts';
import type { ResolvedImage } from '../observe/images/resolve.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';
import type { ImageFacts, SignSource } from './facts.ts';
import type { PipelineResult } from './image-state.ts';
import type { JobProgress } from './job-tries.ts';
import type { PipelineRequest } from './request.ts';
import { buildTried, failed, ready, signatureNotTried, unfinished } from './states.ts';

/** Milliseconds after which a successful Job is repeated if its image does not exist. */
const vanishedImagePause = 600_000;

/** The next step for an image: a query, a Job, or the end. */
export type Step =
  /** Query the registry for an image. */
  | {
      readonly kind: 'resolve';
      readonly fact: 'final' | 'standing' | 'built' | 'unsigned' | 'signed';
      readonly image: string;
      readonly tls: RegistryTls;
      /** Whether to bypass the cache, since a Job has just changed the image. */
      readonly anew: boolean;
      /** Whether a failing registry counts as one without the image. */
      readonly lenient: boolean;
    }
  | { readonly kind: 'read'; readonly fact: 'dockerfile' | 'certificate' }
  | { readonly kind: 'verify'; readonly fact: 'finalProblem' | 'signedProblem'; readonly digest: string }
  | { readonly kind: 'build' }
  | { readonly kind: 'sign'; readonly source: SignSource }
  | {
      readonly kind: 'report';
      readonly result: PipelineResult;
      /** A Job to delete first, so that its work is repeated. */
      readonly repeat?: { readonly key: ObjectKey; readonly uid: string } | undefined;
    };

/** An image that exists and can be used or signed. */
interface Built {
  readonly kind: 'built';
  readonly source: SignSource | undefined;
  readonly inputs: string | undefined;
  readonly jobs: readonly string[];
}

/** Decides on the next step, from what is known so far. */
export function nextStep(request: PipelineRequest, facts: ImageFacts): Step {
  const { target } = request;
  const { final } = facts;
  if (final === undefined) return resolve(request, 'final', target.image);
  const built = target.build === undefined ? nothingBuilt : nextOfBuild(request, target.build, facts);
  if (built.kind !== 'built') return built;
  if (target.sign !== undefined) return nextOfSignature(request, target.sign, facts, built);
  const digest = built.source?.digest ?? final?.digest;
  if (digest !== undefined) return report(ready(request, digest, outcome(request, built)));
  const message = `${target.image} does not exist, and the Module does not say how to build it`;
  return report(failed(request, 'ImageNotFound', message));
}

const nothingBuilt: Built = { kind: 'built', source: undefined, inputs: undefined, jobs: [] };

/** Returns the next step for the image of the build section, or the image: as it is, or after a Job. */
function nextOfBuild(request: PipelineRequest, build: BuildTarget, facts: ImageFacts): Step | Built {
  const { target, earlier } = request;
  const { dockerfile, final } = facts;
  if (dockerfile === undefined) return { kind: 'read', fact: 'dockerfile' };
  const inputs = buildInputsHash(target, dockerfile.text);
  const standing = target.sign === undefined ? final : facts.standing;
  if (standing === undefined) return resolve(request, 'standing', build.image);
  const asBuilt = (image: ResolvedImage | null, jobs: readonly string[]): Built => ({
    kind: 'built',
    source: image === null ? undefined : { image: build.image, digest: image.digest },
    inputs,
    jobs,
  });
  const isChanged = earlier?.inputs !== undefined && earlier.inputs !== inputs;
  if (!isChanged && standing !== null && facts.unfinished !== 'Building') return asBuilt(standing, []);
  // Built before signing was configured, or cleaned up since: the final image is used.
  if (!isChanged && standing === null && final !== null) return asBuilt(null, []);
  if (facts.build === undefined) return { kind: 'build' };
  if (facts.build.state !== 'succeeded') return report(unfinished(request, 'Build', facts.build));
  if (request.push === false) return report(withInputs(buildTried(request, facts.build), inputs));
  if (facts.built === undefined) return resolve(request, 'built', build.image, { anew: true });
  if (facts.built === null) return vanished(request, build.image, { progress: facts.build, now: facts.now });
  return asBuilt(facts.built, facts.build.jobs);
}

/** Returns the next step for the final image: as it is with its signatures, or after a Job. */
function nextOfSignature(request: PipelineRequest, sign: SignTarget, facts: ImageFacts, built: Built): Step {
  const { target } = request;
  const { final, finalProblem, signature, signed, signedProblem } = facts;
  if (facts.certificate === undefined) return { kind: 'read', fact: 'certificate' };
  if (final && finalProblem === undefined) return verify('finalProblem', final);
  const standing = finalProblem === null ? (final ?? undefined) : undefined;
  const source = sourceOf(request, facts, built, standing !== undefined);
  if (source === 'unknown') {
    const tls = sign.unsignedImageRegistryTls;
    // The source does not matter for a final image that is already valid.
    return resolve(request, 'unsigned', sign.unsignedImage, { tls, lenient: standing !== undefined });
  }
  const isUnderWay = source !== undefined && facts.unfinished === 'Signing';
  if (standing !== undefined && !isUnderWay && !isOutdated(request, source, standing)) {
    return report(ready(request, standing.digest, outcome(request, { ...built, source })));
  }
  if (source === undefined) {
    const message = `${sign.unsignedImage}, which is to be signed, does not exist`;
    return report(failed(request, 'UnsignedImageNotFound', message));
  }
  if (request.push === false) {
    return report(withInputs(signatureNotTried(request, source.image, built.jobs), built.inputs));
  }
  if (signature === undefined) return { kind: 'sign', source };
  const jobs = [...built.jobs, ...signature.jobs];
  if (signature.state !== 'succeeded') {
    return report(withInputs({ ...unfinished(request, 'Sign', signature), jobs }, built.inputs));
  }
  if (signed === undefined) return resolve(request, 'signed', target.image, { anew: true });
  if (signed === null) {
    const step = vanished(request, target.image, { progress: signature, now: facts.now });
    return { ...step, result: withInputs({ ...step.result, jobs }, built.inputs) };
  }
  if (signedProblem === undefined) return verify('signedProblem', signed);
  if (signedProblem === null) {
    return report(ready(request, signed.digest, outcome(request, { ...built, source, jobs })));
  }
  const { job } = signature;
  const message = `${target.image} was signed by Job ${job}, but is not as it should be: ${signedProblem}`;
  const result = failed(request, 'VerificationFailed', message, { job });
  return report(withInputs({ ...result, jobs }, built.inputs));
}

/** Returns the image to sign; undefined if there is none. */
function sourceOf(
  { target }: PipelineRequest,
  { final, unsigned }: ImageFacts,
  { source }: Built,
  isSigned: boolean,
): SignSource | undefined | 'unknown' {
  if (source !== undefined) return source;
  if (target.build !== undefined) {
    return isSigned || !final ? undefined : { image: target.image, digest: final.digest };
  }
  if (unsigned === undefined) return 'unknown';
  return unsigned === null
    ? undefined
    : { image: target.sign?.unsignedImage ?? target.image, digest: unsigned.digest };
}

/** Returns whether a signed image was made from a different source than the one to sign now. */
function isOutdated(request: PipelineRequest, source: SignSource | undefined, final: ResolvedImage): boolean {
  const { earlier, target } = request;
  if (source === undefined || source.digest === final.digest || earlier?.inputs === undefined) return false;
  const isAskedFor = target.build === undefined && earlier.inputs !== triggerOf(request);
  return isAskedFor || earlier.unsignedDigest !== source.digest;
}

/** Reports that a Job has pushed an image, but the registry lacks it. After a while the Job is repeated. */
function vanished(
  request: PipelineRequest,
  image: string,
  {
    progress,
    now,
  }: { readonly progress: Extract<JobProgress, { state: 'succeeded' }>; readonly now: number },
): Extract<Step, { kind: 'report' }> {
  const { job, ended, key, uid } = progress;
  const wait = ended + vanishedImagePause - now;
  const message = `Job ${job} succeeded, but ${image} is not in the registry`;
  const result = failed(request, 'ImageVanished', message, { job, requeueAfter: Math.max(wait, 1000) });
  return { kind: 'report', result, ...(wait <= 0 ? { repeat: { key, uid } } : {}) };
}

function outcome(
  request: PipelineRequest,
  { source, inputs, jobs }: Omit<Built, 'kind'>,
): Parameters<typeof ready>[2] {
  return { unsignedDigest: source?.digest, inputs: inputs ?? triggerOf(request), jobs };
}

/** Returns a substitute for inputs if nothing is built. */
function triggerOf({ target }: PipelineRequest): string {
  return `trigger-${target.imageRebuildTriggerGeneration ?? 0}`;
}

function withInputs({ state, jobs }: PipelineResult, inputs: string | undefined): PipelineResult {
  return { state: { ...state, inputs: inputs ?? state.inputs }, jobs };
}

function report(result: PipelineResult): Extract<Step, { kind: 'report' }> {
  return { kind: 'report', result };
}

function verify(fact: 'finalProblem' | 'signedProblem', { digest }: ResolvedImage): Step {
  return { kind: 'verify', fact, digest };
}

function resolve(
  { target }: PipelineRequest,
  fact: Extract<Step, { kind: 'resolve' }>['fact'],
  image: string,
  {
    tls = target.registryTls,
    anew = false,
    lenient = false,
  }: { readonly tls?: RegistryTls | undefined; readonly anew?: boolean; readonly lenient?: boolean } = {},
): Step {
  return { kind: 'resolve', fact, image, tls, anew, lenient };
}
