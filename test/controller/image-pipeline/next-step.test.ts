import { X509Certificate } from 'node:crypto';
import { rootCertificates } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { buildInputsHash } from '../../../src/builder/job-hash.ts';
import type { ModuleTarget } from '../../../src/builder/target.ts';
import { type ImageFacts, nextStep, type Step } from '../../../src/controller/image-pipeline/next-step.ts';
import type { EarlierState, PipelineRequest } from '../../../src/controller/image-pipeline/request.ts';
import type { JobProgress } from '../../../src/controller/image-pipeline/job-attempts.ts';
import type { ResolvedImage } from '../../../src/controller/observe/images/resolve.ts';
import { digestOf } from '../../../src/registry/model/digest.ts';
import { buildAndSignTarget } from '../../builder/targets.ts';

const target = buildAndSignTarget();
const buildOnly = buildAndSignTarget({ sign: undefined });
const signOnly = buildAndSignTarget({ build: undefined });
const neither = buildAndSignTarget({ build: undefined, sign: undefined });

const triggered = buildAndSignTarget({ sign: undefined, imageRebuildTriggerGeneration: 2 });

const finalImage = image('the final image');
const intermediate = image('the intermediate image');
const vendorImage = image('the image of a vendor');
const names = new Map(
  ['the final image', 'the intermediate image', 'the image of a vendor'].map((name) => [
    String(digestOf(name)),
    name,
  ]),
);
const dockerfile = { key: 'dockerfile', text: 'FROM scratch\n' };
const inputs = buildInputsHash(target, dockerfile.text);
const now = Date.parse('2026-05-01T12:00:00Z');

/** Any certificate: the step does not depend on whose it is. */
const certificate: NonNullable<ImageFacts['certificate']> = {
  certificates: [new X509Certificate(rootCertificates[0] ?? '')],
  fingerprint: 'ab'.repeat(32),
};

function image(content: string): ResolvedImage {
  return { digest: digestOf(content), architectures: ['amd64'] };
}

function request(requested: ModuleTarget, changes: Partial<PipelineRequest> = {}): PipelineRequest {
  return {
    target: requested,
    namespace: 'default',
    architectures: ['amd64'],
    kernels: [requested.kernel.release],
    osImages: [],
    ...changes,
  };
}

function facts(known: Partial<ImageFacts> = {}): ImageFacts {
  return { activePhase: undefined, now, ...known };
}

function succeeded(job: string, ended = now, pushed?: string): JobProgress {
  const key = { namespace: 'default', name: job };
  return { state: 'succeeded', job, attempts: 0, jobs: [job], ended, key, uid: `uid of ${job}`, pushed };
}

/** A step in a few details. */
function summary(step: Step): string {
  switch (step.kind) {
    case 'resolve':
      return `resolve ${step.fact} ${step.image}${step.uncached ? ' uncached' : ''}${step.lenient ? ' leniently' : ''}`;
    case 'read':
      return `read ${step.fact}`;
    case 'verify':
      return `verify ${names.get(step.digest)}`;
    case 'build':
      return 'build';
    case 'sign':
      return `sign ${names.get(step.source.digest)}`;
    case 'report':
      return `${step.result.state.phase} ${step.result.state.reason}`;
  }
}

const buildMade = { final: null, dockerfile, build: succeeded('build-1') };
const intermediateOnly = { final: null, dockerfile, existing: intermediate, certificate };
const bothImages = { final: finalImage, dockerfile, existing: intermediate, certificate };
const signatureMade = { ...intermediateOnly, signature: succeeded('sign-1') };

interface Situation {
  readonly of: ModuleTarget;
  readonly when: string;
  readonly known: Partial<ImageFacts>;
  readonly earlier?: EarlierState;
  readonly push?: boolean;
  readonly rebuildsAlways?: boolean;
  readonly next: string;
}

const isReady: EarlierState = { phase: 'Ready', inputs };

const situations: readonly Situation[] = [
  { of: neither, when: 'nothing is known', known: {}, next: `resolve final ${target.image}` },
  {
    of: neither,
    when: 'the image exists',
    known: { final: finalImage },
    next: 'Ready ImageFound',
  },
  {
    of: neither,
    when: 'the image does not exist',
    known: { final: null },
    next: 'Failed ImageNotFound',
  },

  {
    of: buildOnly,
    when: 'the image does not exist',
    known: { final: null },
    next: 'read dockerfile',
  },
  {
    of: buildOnly,
    when: 'the image does not exist and the Dockerfile exists',
    known: { final: null, dockerfile },
    next: 'build',
  },
  {
    of: buildOnly,
    when: 'the image exists and nothing was persisted',
    known: { final: finalImage, dockerfile },
    next: 'Ready ImageFound',
  },
  {
    of: buildOnly,
    when: 'the image was built from other inputs',
    known: { final: finalImage, dockerfile },
    earlier: { phase: 'Ready', inputs: 'of other inputs' },
    next: 'build',
  },
  {
    of: buildOnly,
    when: 'the image exists, but the Job that builds it has not ended',
    known: { final: finalImage, dockerfile, activePhase: 'Building' },
    next: 'build',
  },
  {
    of: buildOnly,
    when: 'the Job succeeded',
    known: buildMade,
    next: `resolve built ${buildOnly.build?.image} uncached`,
  },
  {
    of: buildOnly,
    when: 'the Job succeeded and pushed',
    known: { ...buildMade, built: finalImage },
    next: 'Ready ImageFound',
  },
  {
    of: buildOnly,
    when: 'the Job succeeded and the registry does not have the image',
    known: { ...buildMade, built: null },
    next: 'Failed ImageVanished',
  },
  {
    of: buildOnly,
    when: 'a build that is not pushed succeeded',
    known: buildMade,
    push: false,
    next: 'Pending BuildTried',
  },
  ...(['running', 'queued', 'waiting', 'failed'] as const).map((state): Situation => {
    const details = { message: 'exit code 1', wait: 5, problem: undefined, reason: undefined, outdated: [] };
    return {
      of: buildOnly,
      when: `the Job is ${state}`,
      known: {
        final: null,
        dockerfile,
        build: { ...details, state, job: 'build-1', attempts: 1, jobs: ['build-1'] },
      },
      next: {
        running: 'Building BuildRunning',
        queued: 'Building BuildQueued',
        waiting: 'Failed BuildFailed',
        failed: 'Failed BuildFailed',
      }[state],
    };
  }),
  {
    of: target,
    when: 'the Dockerfile exists',
    known: { final: null, dockerfile },
    next: `resolve existing ${target.build?.image}`,
  },
  {
    of: target,
    when: 'neither image exists',
    known: { final: null, dockerfile, existing: null },
    next: 'build',
  },
  {
    of: target,
    when: 'the intermediate image exists',
    known: { final: null, dockerfile, existing: intermediate },
    next: 'read certificate',
  },
  {
    of: target,
    when: 'the intermediate image exists and the certificate is known',
    known: intermediateOnly,
    next: 'sign the intermediate image',
  },
  { of: target, when: 'the final image exists', known: bothImages, next: 'verify the final image' },
  {
    of: target,
    when: 'the final image is not signed',
    known: { ...bothImages, finalProblem: 'a.ko is not signed' },
    next: 'sign the intermediate image',
  },
  {
    of: target,
    when: 'the final image is signed',
    known: { ...bothImages, finalProblem: null },
    next: 'Ready Signed',
  },
  {
    of: target,
    when: 'the final image is signed, from another intermediate image than the current one',
    known: { ...bothImages, finalProblem: null },
    earlier: { ...isReady, unsignedDigest: vendorImage.digest },
    next: 'sign the intermediate image',
  },
  {
    of: target,
    when: 'the final image is signed, and the Job that signs has not ended',
    known: { ...bothImages, finalProblem: null, activePhase: 'Signing' },
    next: 'sign the intermediate image',
  },
  {
    of: target,
    when: 'only the final image is left, and is not signed',
    known: {
      final: finalImage,
      dockerfile,
      existing: null,
      certificate,
      finalProblem: 'a.ko is not signed',
    },
    next: 'sign the final image',
  },
  {
    of: target,
    when: 'only the final image is left, and is signed',
    known: { final: finalImage, dockerfile, existing: null, certificate, finalProblem: null },
    next: 'Ready Signed',
  },
  {
    of: target,
    when: 'the signature would have to be pushed, but pushing is off',
    known: intermediateOnly,
    push: false,
    next: 'Pending SignatureNotTried',
  },
  {
    of: target,
    when: 'the sign Job succeeded',
    known: signatureMade,
    next: `resolve signed ${target.image} uncached`,
  },
  {
    of: target,
    when: 'the sign Job succeeded and the image exists',
    known: { ...signatureMade, signed: finalImage },
    next: 'verify the final image',
  },
  {
    of: target,
    when: 'the sign Job succeeded and the signatures are valid',
    known: { ...signatureMade, signed: finalImage, signedProblem: null },
    next: 'Ready Signed',
  },
  {
    of: target,
    when: 'the sign Job succeeded and the signatures are not valid',
    known: { ...signatureMade, signed: finalImage, signedProblem: 'a.ko is not signed' },
    next: 'Failed VerificationFailed',
  },
  {
    of: target,
    when: 'the sign Job succeeded and the registry does not have the image',
    known: { ...signatureMade, signed: null },
    next: 'Failed ImageVanished',
  },

  {
    of: signOnly,
    when: 'the final image does not exist',
    known: { final: null, certificate },
    next: `resolve unsigned ${signOnly.sign?.unsignedImage}`,
  },
  {
    of: signOnly,
    when: 'the final image is signed',
    known: { final: finalImage, certificate, finalProblem: null },
    next: `resolve unsigned ${signOnly.sign?.unsignedImage} leniently`,
  },
  {
    of: signOnly,
    when: 'the final image is signed and its source no longer exists',
    known: { final: finalImage, certificate, finalProblem: null, unsigned: null },
    next: 'Ready Signed',
  },
  {
    of: signOnly,
    when: 'there is nothing to sign',
    known: { final: null, certificate, unsigned: null },
    next: 'Failed UnsignedImageNotFound',
  },
  {
    of: signOnly,
    when: 'the source exists',
    known: { final: null, certificate, unsigned: vendorImage },
    next: 'sign the image of a vendor',
  },
  {
    of: buildAndSignTarget({ build: undefined, imageRebuildTriggerGeneration: 2 }),
    when: 'the image is signed and the trigger is new',
    known: { final: finalImage, certificate, finalProblem: null, unsigned: vendorImage },
    earlier: { phase: 'Ready', inputs: 'trigger-1', unsignedDigest: vendorImage.digest },
    next: 'Ready Signed',
  },
  {
    of: buildAndSignTarget({ build: undefined, imageRebuildTriggerGeneration: 2 }),
    when: 'the image is signed, the trigger is new and always rebuilds',
    known: { final: finalImage, certificate, finalProblem: null, unsigned: vendorImage },
    earlier: { phase: 'Ready', inputs: 'trigger-1', unsignedDigest: vendorImage.digest },
    rebuildsAlways: true,
    next: 'sign the image of a vendor',
  },
  {
    of: triggered,
    when: 'the image exists and the trigger is new',
    known: { final: finalImage, dockerfile },
    earlier: { phase: 'Ready', inputs },
    next: 'Ready ImageFound',
  },
  {
    of: triggered,
    when: 'the image does not exist and the trigger is new',
    known: { final: null, dockerfile },
    earlier: { phase: 'Ready', inputs },
    next: 'build',
  },
  {
    of: triggered,
    when: 'the image exists, the trigger is new and always rebuilds',
    known: { final: finalImage, dockerfile },
    earlier: { phase: 'Ready', inputs },
    rebuildsAlways: true,
    next: 'build',
  },
  {
    of: triggered,
    when: 'the image was rebuilt for the trigger, which no longer always rebuilds',
    known: { final: finalImage, dockerfile },
    earlier: { phase: 'Ready', inputs: buildInputsHash(triggered, dockerfile.text) },
    next: 'Ready ImageFound',
  },
];

function titleOf({ of, when }: Situation): string {
  const sections = [of.build && 'built', of.sign && 'signed'].filter((word) => word !== undefined);
  return `of an image that is ${sections.length === 0 ? 'prebuilt' : sections.join(' and ')}, when ${when}`;
}

/** The step when a build Job succeeded that many minutes ago, and its image does not exist. */
function afterVanishing(minutes: number): Step {
  const build = succeeded('build-1', now - minutes * 60_000);
  return nextStep(request(buildOnly), facts({ final: null, dockerfile, build, built: null }));
}

/** The step when a sign Job succeeded that many minutes ago, and the tag has another image, or a wrongly signed one. */
function afterSigning(minutes: number, pushed: string | undefined, earlier?: EarlierState): Step {
  const signature = succeeded('sign-1', now - minutes * 60_000, pushed);
  const known = { ...intermediateOnly, signature, signed: finalImage, signedProblem: 'it is not signed' };
  return nextStep(request(target, { earlier }), facts(known));
}

describe('The next step', () => {
  test.each(situations.map((situation) => [titleOf(situation), situation] as const))(
    '%s',
    (_title, { of, known, earlier, push, rebuildsAlways, next }) => {
      expect(summary(nextStep(request(of, { earlier, push, rebuildsAlways }), facts(known)))).toBe(next);
    },
  );

  test.each([
    ['build', { final: null, dockerfile, existing: null }],
    ['signature', intermediateOnly],
  ])('repeats a %s that failed if a Secret that it used has changed', (work, known) => {
    const job = { key: { namespace: 'default', name: 'job-1' }, uid: 'uid of job-1' };
    const common = {
      state: 'failed',
      job: 'job-1',
      attempts: 1,
      jobs: ['job-1'],
      message: 'exit code 1',
    } as const;
    const repeatOf = (outdated: Extract<JobProgress, { state: 'failed' }>['outdated']) =>
      nextStep(request(target), facts({ ...known, [work]: { ...common, outdated } }));
    expect(repeatOf([job])).toMatchObject({ result: { state: { phase: 'Failed' } }, repeat: [job] });
    expect(repeatOf([])).toHaveProperty('repeat', undefined);
  });

  test('keeps what is known of the build in the state while the image is signed', () => {
    const step = nextStep(
      request(target),
      facts({
        final: null,
        dockerfile,
        existing: null,
        build: succeeded('build-1'),
        built: intermediate,
        certificate,
        signature: {
          state: 'running',
          job: 'sign-1',
          attempts: 0,
          jobs: ['sign-1'],
          problem: undefined,
          reason: undefined,
        },
      }),
    );
    expect(step).toMatchObject({
      kind: 'report',
      result: { state: { phase: 'Signing', job: 'sign-1', inputs }, jobs: ['build-1', 'sign-1'] },
    });
  });

  test.each([
    ['pushed another image a minute ago', afterSigning(1, vendorImage.digest), 'ImageOverwritten', true],
    ['pushed another image just now', afterSigning(0.5, vendorImage.digest), 'ImageOverwritten', false],
    ['pushed this very image', afterSigning(60, finalImage.digest), 'VerificationFailed', false],
    ['pushed an unknown image a while ago', afterSigning(10, undefined), 'VerificationFailed', true],
    ['pushed an unknown image just now', afterSigning(9, undefined), 'VerificationFailed', false],
    [
      'pushed another image, by the status',
      afterSigning(1, undefined, { phase: 'Ready', inputs, job: 'sign-1', digest: vendorImage.digest }),
      'ImageOverwritten',
      true,
    ],
    [
      'is not the one that the digest in the status is of',
      afterSigning(1, undefined, { phase: 'Ready', inputs, job: 'sign-0', digest: vendorImage.digest }),
      'VerificationFailed',
      false,
    ],
  ] as const)('for a tag without its signatures, whose Job %s', (_title, step, reason, isRepeated) => {
    expect(step).toMatchObject({
      kind: 'report',
      result: { state: { phase: 'Failed', reason, job: 'sign-1' } },
    });
    expect(step).toHaveProperty(
      'repeat',
      isRepeated ? [{ key: { namespace: 'default', name: 'sign-1' }, uid: 'uid of sign-1' }] : undefined,
    );
  });

  test('does not sign a tag again that others push, too', () => {
    const signature = succeeded('sign-1', now - 60 * 60_000, vendorImage.digest);
    const known = { ...intermediateOnly, signature, signed: finalImage, signedProblem: 'it is not signed' };
    const step = nextStep(request(target, { isContested: true }), facts(known));
    expect(step).toMatchObject({ result: { state: { phase: 'Failed', reason: 'ImageOverwritten' } } });
    expect(step).toHaveProperty('repeat', undefined);
  });

  test('names the digest that nodes may run only when the image is ready, and where it came from', () => {
    const step = nextStep(request(target), facts({ ...bothImages, finalProblem: null }));
    expect(step).toMatchObject({
      kind: 'report',
      result: { state: { digest: finalImage.digest, unsignedDigest: intermediate.digest, inputs } },
    });
  });

  test('repeats a Job whose image vanished only after ten minutes', () => {
    expect(afterVanishing(9)).not.toHaveProperty('repeat');
    expect(afterVanishing(9)).toMatchObject({ result: { state: { requeueAfter: 60_000 } } });
    expect(afterVanishing(10)).toMatchObject({
      repeat: [{ key: { name: 'build-1' }, uid: 'uid of build-1' }],
    });
  });
});
