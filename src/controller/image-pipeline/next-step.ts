import type { RegistryTls } from '../../api/module/build-and-sign.ts';
import { buildInputsHash } from '../../builder/job-hash.ts';
import type { BuildTarget, SignTarget } from '../../builder/target.ts';
import type { ResolvedImage } from '../observe/images/resolve.ts';
import type { CertificateSecret } from '../observe/references/projections.ts';
import type { JobProgress } from './job-attempts.ts';
import type { Dockerfile } from './inputs.ts';
import type { PipelineRequest, PipelineResult } from './request.ts';
import {
  buildTried,
  failed,
  imageVanished,
  notSucceeded,
  ready,
  signatureNotTried,
  wronglySigned,
  type RepeatableResult,
} from './results.ts';

/** An image by tag, with the digest of the tag. */
export interface SignSource {
  readonly image: string;
  readonly digest: string;
}

/**
 * What is known about an image so far. Absent properties have not been queried yet; null means that the
 * registry does not have the image, or that nothing is wrong with its signatures.
 */
export interface ImageFacts {
  /** The phase whose persisted Job has not ended. Even if its image exists, the Job must end first. */
  readonly activePhase: 'Building' | 'Signing' | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** The image that nodes run. */
  readonly final?: ResolvedImage | null;
  /** What is wrong with the signatures of `final`. */
  readonly finalProblem?: string | null;
  readonly dockerfile?: Dockerfile;
  /** The image of the build section before a build. */
  readonly existing?: ResolvedImage | null;
  readonly build?: JobProgress;
  /** The image of the build section after the build Job succeeded. */
  readonly built?: ResolvedImage | null;
  /** The image that `sign.unsignedImage` names. */
  readonly unsigned?: ResolvedImage | null;
  readonly certificate?: CertificateSecret;
  readonly signature?: JobProgress;
  /** The image that nodes run after the sign Job succeeded. */
  readonly signed?: ResolvedImage | null;
  /** What is wrong with the signatures of `signed`. */
  readonly signedProblem?: string | null;
}

/** The next step for an image: a query, a Job, or the end. */
export type Step =
  /** Query the registry for an image. */
  | {
      readonly kind: 'resolve';
      readonly fact: 'final' | 'existing' | 'built' | 'unsigned' | 'signed';
      readonly image: string;
      readonly tls: RegistryTls;
      /** Whether to bypass the cache, since a Job has just changed the image. */
      readonly uncached: boolean;
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
      readonly repeat?: RepeatableResult['repeat'];
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
  const inputs = inputsOf(request, dockerfile.text);
  const existing = target.sign === undefined ? final : facts.existing;
  if (existing === undefined) return resolve(request, 'existing', build.image);
  const asBuilt = (image: ResolvedImage | null, jobs: readonly string[]): Built => ({
    kind: 'built',
    source: image === null ? undefined : { image: build.image, digest: image.digest },
    inputs,
    jobs,
  });
  // With `rebuildsAlways`, the hash includes the trigger; without, an image made under it is as good.
  const isChanged =
    earlier?.inputs !== undefined &&
    earlier.inputs !== inputs &&
    (request.rebuildsAlways === true || earlier.inputs !== buildInputsHash(target, dockerfile.text));
  if (!isChanged && existing !== null && facts.activePhase !== 'Building') return asBuilt(existing, []);
  // Built before signing was configured, or cleaned up since: the final image is used.
  if (!isChanged && existing === null && final !== null) return asBuilt(null, []);
  if (facts.build === undefined) return { kind: 'build' };
  if (facts.build.state !== 'succeeded') {
    return { ...report(notSucceeded(request, 'Build', facts.build)), repeat: outdatedJobs(facts.build) };
  }
  if (request.push === false) return report(withInputs(buildTried(request, facts.build), inputs));
  if (facts.built === undefined) return resolve(request, 'built', build.image, { uncached: true });
  if (facts.built === null) {
    return { kind: 'report', ...imageVanished(request, build.image, facts.build, facts.now) };
  }
  return asBuilt(facts.built, facts.build.jobs);
}

/** Returns the next step for the final image: as it is with its signatures, or after a Job. */
function nextOfSignature(request: PipelineRequest, sign: SignTarget, facts: ImageFacts, built: Built): Step {
  const { target } = request;
  const { final, finalProblem, signature, signed, signedProblem } = facts;
  if (facts.certificate === undefined) return { kind: 'read', fact: 'certificate' };
  if (final && finalProblem === undefined) return verify('finalProblem', final);
  const validFinal = finalProblem === null ? (final ?? undefined) : undefined;
  const source = sourceOf(request, facts, built, validFinal !== undefined);
  if (source === 'unknown') {
    const tls = sign.unsignedImageRegistryTls;
    // The source does not matter for a final image that is already valid.
    return resolve(request, 'unsigned', sign.unsignedImage, { tls, lenient: validFinal !== undefined });
  }
  const isSigning = source !== undefined && facts.activePhase === 'Signing';
  if (validFinal !== undefined && !isSigning && !isOutdated(request, source, validFinal)) {
    return report(ready(request, validFinal.digest, outcome(request, { ...built, source })));
  }
  if (source === undefined) {
    const message = `The image to sign, ${sign.unsignedImage}, does not exist`;
    return report(failed(request, 'UnsignedImageNotFound', message));
  }
  if (request.push === false) {
    return report(withInputs(signatureNotTried(request, source.image, built.jobs), built.inputs));
  }
  if (signature === undefined) return { kind: 'sign', source };
  const jobs = [...built.jobs, ...signature.jobs];
  if (signature.state !== 'succeeded') {
    const result = { ...notSucceeded(request, 'Sign', signature), jobs };
    return { ...report(withInputs(result, built.inputs)), repeat: outdatedJobs(signature) };
  }
  if (signed === undefined) return resolve(request, 'signed', target.image, { uncached: true });
  if (signed === null) {
    const { result, repeat } = imageVanished(request, target.image, signature, facts.now);
    return { ...report(withInputs({ ...result, jobs }, built.inputs)), repeat };
  }
  if (signedProblem === undefined) return verify('signedProblem', signed);
  if (signedProblem === null) {
    return report(ready(request, signed.digest, outcome(request, { ...built, source, jobs })));
  }
  const wrong = { digest: signed.digest, problem: signedProblem };
  const { result, repeat } = wronglySigned(request, signature, wrong, facts.now);
  return { ...report(withInputs({ ...result, jobs }, built.inputs)), repeat };
}

/** Returns the failed Jobs of work that is repeated because of a changed Secret. */
function outdatedJobs(progress: JobProgress): RepeatableResult['repeat'] {
  return progress.state === 'failed' && progress.outdated.length > 0 ? progress.outdated : undefined;
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
  const isTriggered =
    request.rebuildsAlways === true && target.build === undefined && earlier.inputs !== triggerOf(request);
  return isTriggered || earlier.unsignedDigest !== source.digest;
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

/** Returns the hash of what a user specifies about a build. */
function inputsOf({ target, rebuildsAlways }: PipelineRequest, dockerfile: string): string {
  return buildInputsHash(
    rebuildsAlways === true ? target : { ...target, imageRebuildTriggerGeneration: undefined },
    dockerfile,
  );
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
    uncached = false,
    lenient = false,
  }: { readonly tls?: RegistryTls | undefined; readonly uncached?: boolean; readonly lenient?: boolean } = {},
): Step {
  return { kind: 'resolve', fact, image, tls, uncached, lenient };
}
