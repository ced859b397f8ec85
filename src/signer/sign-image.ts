import type { Manifest } from '../registry/model/manifest.ts';
import { digestOptions } from './image/publish/annotations.ts';
import { findAttachments, type FoundAttachments } from './image/plan/attachments.ts';
import { buildTree, type BuildOptions } from './image/publish/build.ts';
import { findHeld } from './image/publish/held-result.ts';
import { requireMatches } from './image/read/selection.ts';
import {
  artifactTypesOf,
  imagesOf,
  planTree,
  type PlanNode,
  type PlanOptions,
} from './image/plan/plan-tree.ts';
import { publishTree, readBackLayers, requirePush } from './image/publish/publish.ts';
import { plannedReport, signedReport, statedReport, type ReportBasis } from './image/publish/sign-report.ts';
import { Spool } from './image/read/spool.ts';
import { findStatedResult } from './image/publish/stated-result.ts';
import { findShadowed, refuseArtifacts, requirePlatforms } from './image/read/platform-images.ts';
import { hashWarnings } from './keys/warnings.ts';
import type { SignReport } from './model/report.ts';
import {
  resolveSignOptions,
  type ResolvedSignOptions,
  type SignImageOptions,
} from './image/plan/sign-options.ts';

export type { ImageLocation } from './image/read/platform-images.ts';
export type { SignImageOptions } from './image/plan/sign-options.ts';

/**
 * Publishes an image with its kernel modules signed. The destination tag moves last, after the result
 * was verified; whatever fails before leaves it as it was.
 * @throws RegistryError, SignerError
 */
export async function signImage(options: SignImageOptions): Promise<SignReport> {
  const resolved = resolveSignOptions(options);
  const { source, onProgress, signal } = resolved;
  const manifest = await source.repository.getManifest(source.selector, { signal });
  onProgress?.({ type: 'resolved', image: source.repository.name, digest: manifest.raw.digest });
  const basis = reportBasis(resolved, manifest);
  const stated = await statedResult(resolved, manifest);
  if (stated !== null && resolved.trustAnnotations) return statedReport(stated, basis);
  // A plan is enough for a dry run, unless the result is perhaps there already.
  const builds = !resolved.dryRun || stated !== null;
  if (!resolved.dryRun && stated === null)
    await requirePush(resolved.destination, { source: manifest, signal });
  await using spool = await Spool.create(resolved.temporaryDirectory);
  await using disposables = new AsyncDisposableStack();
  const plan = await makePlan(manifest, resolved, { spool, disposables, builds });
  const looking = lookForAttachments(plan, resolved, disposables);
  if (!builds) return plannedReport(plan, { ...basis, found: await looking });
  const built = await buildTree(plan, buildOptions(resolved, { spool, disposables, builds }));
  const { repository, tag } = resolved.destination;
  const held = tag === undefined ? null : await findHeld(built, { repository, tag, signal });
  if (held !== null) return signedReport(held, { ...basis, found: await looking, plan, status: 'unchanged' });
  if (resolved.dryRun) return plannedReport(plan, { ...basis, found: await looking });
  await publishTree(built, {
    source: source.repository,
    destination: repository,
    tag,
    beforeTag: resolved.readBack ? () => readBackLayers(built, resolved) : undefined,
    onProgress,
    signal,
  });
  return signedReport(built, { ...basis, found: await looking, plan, status: 'signed' });
}

/** Looks for them beside the signing, and no longer than that lasts where it fails. */
function lookForAttachments(
  plan: PlanNode,
  { source, signal }: ResolvedSignOptions,
  disposables: AsyncDisposableStack,
): Promise<FoundAttachments> {
  const stop = new AbortController();
  disposables.defer(() => stop.abort());
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  return findAttachments(plan, { repository: source.repository, signal: either });
}

interface Resources {
  readonly spool: Spool;
  readonly disposables: AsyncDisposableStack;
  /** Whether what is planned will be written. */
  readonly builds: boolean;
}

async function makePlan(
  manifest: Manifest,
  options: ResolvedSignOptions,
  resources: Resources,
): Promise<PlanNode> {
  const { source, patterns, platforms, allowUnmatched, mode } = options;
  const { builds } = resources;
  const planOptions: PlanOptions = {
    ...options,
    ...resources,
    repository: source.repository,
    signing: options,
    keepLayers: mode === 'rewrite' && builds,
    keepDirectories: mode === 'append' && builds,
    signEarly: builds,
  };
  const plan = await planTree(manifest, planOptions);
  const images = imagesOf(plan);
  if (images.length === 0 && !allowUnmatched) refuseArtifacts(artifactTypesOf(plan), source.repository);
  requirePlatforms(images, { platforms, repository: source.repository });
  if (!allowUnmatched) {
    const shadowed = findShadowed(images);
    requireMatches(
      patterns,
      images
        .filter((_, index) => shadowed[index] !== true)
        .map(({ scan, modules }) => ({ files: modules, unmatched: scan.unmatched })),
      source.repository.name,
    );
  }
  return plan;
}

function buildOptions(options: ResolvedSignOptions, resources: Resources): BuildOptions {
  return { ...options, ...resources, signing: options, facts: signingFacts(options) };
}

async function statedResult(options: ResolvedSignOptions, source: Manifest): Promise<Manifest | null> {
  const { destination, mode, sourceDateEpoch, signal } = options;
  const { repository, tag } = destination;
  if (tag === undefined) return null;
  return findStatedResult({
    repository,
    tag,
    sourceRepository: options.source.repository,
    source,
    facts: signingFacts(options),
    mode,
    sourceDateEpoch,
    signal,
  });
}

/** What all annotations of one run have in common. */
function signingFacts(options: ResolvedSignOptions): BuildOptions['facts'] {
  const { source, signer, hash, patterns, platforms, mode, identifierForm, existing } = options;
  const { repository, selector } = source;
  const name =
    'tag' in selector ? `${repository.name}:${selector.tag}` : `${repository.name}@${selector.digest}`;
  return {
    baseName: repository.kind === 'layout' ? null : name,
    certificateFingerprint: signer.fingerprint,
    hash,
    optionsDigest: digestOptions({
      files: patterns === null ? null : patterns.map(({ text }) => text).toSorted(),
      platforms: platforms ?? null,
      mode,
      identifierForm,
      existing,
    }),
  };
}

function reportBasis(options: ResolvedSignOptions, manifest: Manifest): ReportBasis {
  const { source, destination, signer, hash, mode } = options;
  const repositories = new Set([source.repository, destination.repository]);
  const before = [...repositories].map(({ traffic }) => traffic);
  const sum = (field: 'bytesDown' | 'bytesUp') => () =>
    [...repositories].reduce(
      (total, { traffic }, index) => total + traffic[field] - (before[index]?.[field] ?? 0),
      0,
    );
  return {
    source: source.repository.name,
    sourceDigest: manifest.raw.digest,
    destination:
      destination.tag === undefined
        ? destination.repository.name
        : `${destination.repository.name}:${destination.tag}`,
    mode,
    hash,
    certificateFingerprint: signer.fingerprint,
    warnings: [...signer.warnings, ...hashWarnings(signer.key, hash)],
    bytesDown: sum('bytesDown'),
    bytesUp: sum('bytesUp'),
  };
}
