import pLimit from 'p-limit';
import { type ImageRepository, tagForDigest } from '../../../registry/image/repository.ts';
import type { Digest } from '../../../registry/model/digest.ts';
import { RegistryError } from '../../../registry/model/errors.ts';
import type { SourceAttachment } from '../../model/report.ts';
import { isChanged, type PlanNode } from './plan-tree.ts';
import type { SigningRun } from './signing-run.ts';

/** Limits on the manifests whose attachments are looked up, and on the attachments that are reported. */
const maxSubjects = 16;
const maxReported = 100;
/** Concurrent requests. */
const concurrency = 4;
/** Milliseconds for all requests together: nothing depends on the responses. */
const timeout = 15_000;

/** Suffixes of cosign's tags. */
const tagSuffixes = [
  ['.sig', 'signature'],
  ['.att', 'attestation'],
  ['.sbom', 'SBOM'],
] as const;

/** The attachments of a source, as far as they could be determined. */
export interface FoundAttachments {
  readonly attachments: readonly SourceAttachment[];
  /** A sentence about what could not be determined. */
  readonly problem: string | undefined;
}

/**
 * Looks up signatures, attestations and other artifacts attached to the manifests that a plan changes, since
 * they refer to the source's digests. Never fails.
 */
export async function findAttachments(plan: PlanNode, run: SigningRun): Promise<FoundAttachments> {
  const { repository } = run.source;
  const signal = AbortSignal.any([run.signal, AbortSignal.timeout(timeout)]);
  const subjects = changedDigests(plan);
  const limit = pLimit(concurrency);
  const lookups = subjects.slice(0, maxSubjects).flatMap((subject) => [
    () => listReferrers(subject, repository, signal),
    ...tagSuffixes.map(
      ([suffix, type]) =>
        () =>
          findTagged({ subject, suffix, type }, repository, signal),
    ),
  ]);
  const results = await Promise.allSettled(lookups.map((lookup) => limit(lookup)));
  const found = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
  const distinct = new Map(found.map((one) => [`${one.subject} ${one.digest}`, one]));
  const isPartial =
    results.some(({ status }) => status === 'rejected') ||
    subjects.length > maxSubjects ||
    distinct.size > maxReported;
  return {
    attachments: [...distinct.values()].slice(0, maxReported),
    problem: isPartial
      ? `not all signatures and attestations attached to ${repository.name} could be determined`
      : undefined,
  };
}

function changedDigests(plan: PlanNode): Digest[] {
  const digests = new Set<Digest>();
  const waiting: PlanNode[] = [plan];
  for (let node = waiting.shift(); node !== undefined; node = waiting.shift()) {
    if (!isChanged(node)) continue;
    digests.add(node.manifest.raw.digest);
    if (node.type !== 'index') continue;
    for (const child of node.children) if (child.node.type !== 'dropped') waiting.push(child.node);
  }
  return [...digests];
}

async function listReferrers(
  subject: Digest,
  repository: ImageRepository,
  signal: AbortSignal,
): Promise<SourceAttachment[]> {
  const referrers = await repository.listReferrers(subject, { signal });
  return referrers.map(({ digest, artifactType, mediaType }) => ({
    subject,
    digest,
    type: artifactType ?? mediaType,
    tag: null,
  }));
}

async function findTagged(
  { subject, suffix, type }: { readonly subject: Digest; readonly suffix: string; readonly type: string },
  repository: ImageRepository,
  signal: AbortSignal,
): Promise<SourceAttachment[]> {
  const tag = tagForDigest(subject, suffix);
  try {
    const { digest } = await repository.resolve({ tag }, { signal });
    return [{ subject, digest, type, tag }];
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'NOT_FOUND') return [];
    throw error;
  }
}
