import { buildInputsHash } from '../../builder/job-hash.ts';
import type { SignTarget } from '../../builder/target.ts';
import type { RegistryTls } from '../../api/module/registry-tls.ts';
import type { CertificateSecret } from '../references/kept.ts';
import type { ResolvedImage } from '../images/resolve.ts';
import { jobs } from '../cluster/resources.ts';
import { isApiError } from '../runtime/errors.ts';
import { progressBuild } from './build-step.ts';
import type { ImageState, PipelineResult } from './image-state.ts';
import { findCertificate, findDockerfileOf, type Credentials } from './inputs.ts';
import type { JobProgress } from './job-progress.ts';
import type { PipelineRequest } from './request.ts';
import type { PipelineServices } from './services.ts';
import { progressSignature, type SignSource } from './sign-step.ts';
import { buildTried, signatureNotTried } from './tried.ts';

/** Milliseconds until an image that is nowhere, and that nobody builds, is looked for again. */
const missingImagePause = 60_000;
/** Milliseconds after which a Job is repeated that succeeded, but whose image is not there. */
const vanishedImagePause = 600_000;

/** An image that exists and is fit to be used or to be signed. */
interface Built {
  readonly source: SignSource | undefined;
  readonly inputs: string | undefined;
  readonly jobs: readonly string[];
}

type BuildOutcome = { readonly done: Built } | { readonly pending: PipelineResult };

/** One look at an image. What is to be done about it is done. */
export class Pipeline {
  readonly #services: PipelineServices;
  readonly #request: PipelineRequest;
  readonly #credentials: Credentials;
  readonly #signal: AbortSignal;

  constructor(
    services: PipelineServices,
    request: PipelineRequest,
    credentials: Credentials,
    signal: AbortSignal,
  ) {
    this.#services = services;
    this.#request = request;
    this.#credentials = credentials;
    this.#signal = signal;
  }

  async advance(): Promise<PipelineResult> {
    const { image, build, sign } = this.#request.target;
    const final = await this.#resolve(image);
    const built: BuildOutcome =
      build === undefined
        ? { done: { source: undefined, inputs: undefined, jobs: [] } }
        : await this.#build(final);
    if ('pending' in built) return built.pending;
    if (sign !== undefined) return this.#sign(sign, built.done, final);
    const digest = built.done.source?.digest ?? final?.digest;
    if (digest !== undefined) return this.#ready(digest, built.done, built.done.jobs);
    return this.#failed(
      'ImageNotFound',
      `${image} does not exist, and the Module does not say how to build it`,
    );
  }

  /** The image of the build section: as it stands, or after a Job. */
  async #build(final: ResolvedImage | undefined): Promise<BuildOutcome> {
    const { target, earlier } = this.#request;
    const { build, sign } = target;
    if (build === undefined) throw new TypeError('there is nothing to build');
    const dockerfile = await findDockerfileOf(this.#services, this.#request, build);
    const inputs = buildInputsHash(target, dockerfile.text);
    const isChanged = earlier?.inputs !== undefined && earlier.inputs !== inputs;
    const standing = sign === undefined ? final : await this.#resolve(build.image);
    const asSource = ({ digest }: ResolvedImage): SignSource => ({ image: build.image, digest });
    if (!isChanged && standing !== undefined && !this.#isJobEnding('Building')) {
      return { done: { source: asSource(standing), inputs, jobs: [] } };
    }
    // Built before it was to be signed, or cleaned up since: the final image serves.
    if (!isChanged && standing === undefined && final !== undefined)
      return { done: { source: undefined, inputs, jobs: [] } };
    const progress = await progressBuild(this.#services, this.#request, {
      dockerfile,
      credentials: this.#credentials,
      signal: this.#signal,
    });
    if (progress.state !== 'succeeded') return { pending: this.#pending('Build', 'Building', progress) };
    if (this.#request.push === false) {
      const state = { ...this.#kept(), ...buildTried(target, progress.job), inputs };
      return { pending: { state, jobs: progress.jobs } };
    }
    this.#services.images.forget(build.image);
    const made = await this.#resolve(build.image);
    if (made === undefined) return { pending: await this.#vanished(build.image, progress) };
    return { done: { source: asSource(made), inputs, jobs: progress.jobs } };
  }

  async #sign(sign: SignTarget, built: Built, final: ResolvedImage | undefined): Promise<PipelineResult> {
    const { target } = this.#request;
    const certificate = await findCertificate(this.#services, this.#request, sign);
    const isSigned =
      final !== undefined && (await this.#verify(sign, final.digest, certificate)) === undefined;
    const source = await this.#source(sign, built, { final, isSigned });
    const isUnderWay = source !== undefined && this.#isJobEnding('Signing');
    if (isSigned && !isUnderWay && !this.#isOutdated(source, final)) {
      return this.#ready(final.digest, { ...built, source }, built.jobs);
    }
    if (source === undefined) {
      return this.#failed(
        'UnsignedImageNotFound',
        `${sign.unsignedImage}, which is to be signed, does not exist`,
      );
    }
    if (this.#request.push === false) {
      const state = { ...this.#kept(), ...signatureNotTried(target, source.image) };
      return withInputs({ state, jobs: built.jobs }, built.inputs);
    }
    const progress = await progressSignature(this.#services, this.#request, {
      sign,
      source,
      certificate,
      credentials: this.#credentials,
      signal: this.#signal,
    });
    const all = [...built.jobs, ...progress.jobs];
    if (progress.state !== 'succeeded') {
      return withInputs({ ...this.#pending('Sign', 'Signing', progress), jobs: all }, built.inputs);
    }
    this.#services.images.forget(target.image);
    const signed = await this.#resolve(target.image);
    if (signed === undefined) {
      return withInputs({ ...(await this.#vanished(target.image, progress)), jobs: all }, built.inputs);
    }
    const problem = await this.#verify(sign, signed.digest, certificate);
    if (problem === undefined) return this.#ready(signed.digest, { ...built, source }, all);
    const failure = `${target.image} was signed by Job ${progress.job}, but is not as it should be: ${problem}`;
    const result = this.#failed('VerificationFailed', failure, { job: progress.job });
    return withInputs({ ...result, jobs: all }, built.inputs);
  }

  /** What is to be signed. An image that is fine as it stands does not depend on where it came from. */
  async #source(
    sign: SignTarget,
    { source }: Built,
    { final, isSigned }: { readonly final: ResolvedImage | undefined; readonly isSigned: boolean },
  ): Promise<SignSource | undefined> {
    if (source !== undefined) return source;
    if (this.#request.target.build !== undefined) {
      return final === undefined || isSigned
        ? undefined
        : { image: this.#request.target.image, digest: final.digest };
    }
    const found = await this.#resolve(sign.unsignedImage, sign.unsignedImageRegistryTls).catch(
      (error: unknown) => {
        if (isSigned) return undefined;
        throw error;
      },
    );
    return found && { image: sign.unsignedImage, digest: found.digest };
  }

  /** Whether the Job of a phase is not through. Its image may be there already: it is waited for. */
  #isJobEnding(phase: 'Building' | 'Signing'): boolean {
    const { earlier, namespace } = this.#request;
    if (earlier?.job === undefined || earlier.phase !== phase) return false;
    return this.#services.caches.jobs.get({ namespace, name: earlier.job })?.state === 'active';
  }

  /** Whether a signed image was made from something else than what is to be signed now. */
  #isOutdated(source: SignSource | undefined, final: ResolvedImage): boolean {
    const { earlier, target } = this.#request;
    if (source === undefined || source.digest === final.digest || earlier?.inputs === undefined) return false;
    const isAskedFor = target.build === undefined && earlier.inputs !== triggerOf(this.#request);
    return isAskedFor || earlier.unsignedDigest !== source.digest;
  }

  /** @returns what is wrong with the signatures; undefined: nothing */
  async #verify(
    sign: SignTarget,
    digest: string,
    { certificates: [signing] }: CertificateSecret,
  ): Promise<string | undefined> {
    const { image, registryTls: tls } = this.#request.target;
    const verdict = await this.#services.images.verify({
      image,
      digest,
      access: { tls, pullSecrets: this.#credentials.contents },
      // Others in the Secret are its issuers, or older ones.
      certificates: [signing],
      files: sign.files,
      namespace: this.#request.namespace,
      signal: this.#signal,
    });
    return verdict.state === 'signed' ? undefined : verdict.problem;
  }

  #resolve(
    image: string,
    tls: RegistryTls = this.#request.target.registryTls,
  ): Promise<ResolvedImage | undefined> {
    const access = { tls, pullSecrets: this.#credentials.contents };
    const { namespace } = this.#request;
    return this.#services.images.resolve({ image, access, namespace, signal: this.#signal });
  }

  #ready(digest: string, { source, inputs }: Built, names: readonly string[]): PipelineResult {
    const { target, earlier } = this.#request;
    const signed = target.sign !== undefined;
    const state: ImageState = {
      phase: 'Ready',
      reason: signed ? 'Signed' : 'ImageFound',
      message: signed ? `${target.image} exists, and its modules are signed` : `${target.image} exists`,
      digest,
      unsignedDigest: signed ? (source?.digest ?? earlier?.unsignedDigest) : undefined,
      inputs: inputs ?? triggerOf(this.#request),
      job: names.at(-1) ?? earlier?.job,
    };
    return { state, jobs: names };
  }

  #failed(reason: string, message: string, more: Partial<ImageState> = {}): PipelineResult {
    const state: ImageState = {
      phase: 'Failed',
      reason,
      message,
      requeueAfter: missingImagePause,
      ...this.#kept(),
      ...more,
    };
    return { state, jobs: [] };
  }

  /** The state while a Job works, waits or has failed for good. */
  #pending(
    kind: 'Build' | 'Sign',
    phase: 'Building' | 'Signing',
    progress: Exclude<JobProgress, { state: 'succeeded' }>,
  ): PipelineResult {
    const { job, attempts } = progress;
    const common = { job, attempts, ...this.#kept() };
    if (progress.state === 'running') {
      const { reason = `${kind}Running`, problem } = progress;
      const message = problem === undefined ? `Job ${job} runs` : `Job ${job} cannot start: ${problem}`;
      return { state: { ...common, phase, reason, message }, jobs: progress.jobs };
    }
    if (progress.state === 'queued') {
      const message = `Job ${job} waits for its turn`;
      return {
        state: { ...common, job: undefined, phase, reason: `${kind}Queued`, message },
        jobs: progress.jobs,
      };
    }
    const { message } = progress;
    const requeueAfter = progress.state === 'waiting' ? progress.wait : undefined;
    return {
      state: { ...common, phase: 'Failed', reason: `${kind}Failed`, message, requeueAfter },
      jobs: progress.jobs,
    };
  }

  /** A Job says that it pushed the image, and the registry says that there is none. After a while it is repeated. */
  async #vanished(
    image: string,
    { job, ended, key, uid }: Extract<JobProgress, { state: 'succeeded' }>,
  ): Promise<PipelineResult> {
    const { client, now = Date.now } = this.#services;
    const wait = ended + vanishedImagePause - now();
    if (wait <= 0) {
      await client.delete(jobs, key, { uid, signal: this.#signal }).catch((error: unknown) => {
        if (!isApiError(error, 'NOT_FOUND', 'CONFLICT')) throw error;
      });
    }
    const message = `Job ${job} succeeded, but ${image} is not in the registry`;
    const result = this.#failed('ImageVanished', message, { job, requeueAfter: Math.max(wait, 1000) });
    return { ...result, jobs: [job] };
  }

  /** What stays known while the image is not ready. */
  #kept(): Pick<ImageState, 'unsignedDigest' | 'inputs'> {
    const { unsignedDigest, inputs } = this.#request.earlier ?? {};
    return { unsignedDigest, inputs };
  }
}

/** Stands for inputs where nothing is built. */
function triggerOf({ target }: PipelineRequest): string {
  return `trigger-${target.imageRebuildTriggerGeneration ?? 0}`;
}

function withInputs({ state, jobs: names }: PipelineResult, inputs: string | undefined): PipelineResult {
  return { state: { ...state, inputs: inputs ?? state.inputs }, jobs: names };
}
