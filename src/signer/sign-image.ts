import { ignoreRejection } from '../shared/abortable.ts';
import { findAttachments } from './image/plan/attachments.ts';
import {
  artifactTypesOf,
  imagesOf,
  planTree,
  type PlanNode,
  type PlanPurpose,
} from './image/plan/plan-tree.ts';
import { openSigningRun, type SignImageOptions, type SigningRun } from './image/plan/signing-run.ts';
import { buildTree } from './image/publish/build.ts';
import { findExistingResult } from './image/publish/existing-result.ts';
import { publishTree, requirePush } from './image/publish/publish.ts';
import { plannedReport, signedReport, claimedReport } from './image/publish/sign-report.ts';
import { findClaimedResult } from './image/publish/claimed-result.ts';
import { findShadowed, refuseArtifacts, requirePlatforms } from './image/read/platform-images.ts';
import { prepareScan } from './image/read/scan.ts';
import { requireMatches } from './image/read/selection.ts';
import type { SignReport } from './model/report.ts';

export type { ImageLocation } from './image/read/platform-images.ts';
export type { SignImageOptions } from './image/plan/signing-run.ts';

/**
 * Publishes an image with its kernel modules signed. The destination tag moves last, after the result was
 * verified; any earlier failure leaves it unchanged.
 * @throws RegistryError, SignerError
 */
export async function signImage(options: SignImageOptions): Promise<SignReport> {
  await using run = await openSigningRun(options);
  // Here, since a run that finds its result in place writes nothing.
  if (!run.dryRun) await run.destination.repository.removeLeftovers?.();
  const { claimed, isFree } = await findClaimedResult(run);
  if (claimed !== null && run.trustAnnotations) return claimedReport(claimed, run);
  prepareScan(run.sourceManifest);
  // A plan is enough for a dry run, unless the result may already exist.
  const writes = !run.dryRun || claimed !== null;
  const permission = run.dryRun || claimed !== null ? undefined : requirePush(run);
  const plan = await makePlan(run, writes ? 'write' : 'report', permission);
  const attachments = findAttachments(plan, run);
  if (!writes) return plannedReport(plan, await attachments, run);
  const built = await buildTree(plan, run, { uploads: isFree && !run.dryRun });
  // The modules are in the layers now; freeing their file takes a while, and the registry's answers do, too.
  ignoreRejection(run.spool[Symbol.asyncDispose]());
  const existing = isFree ? null : await findExistingResult(built, run);
  if (existing !== null)
    return signedReport('unchanged', { plan, built: existing, found: await attachments }, run);
  if (run.dryRun) return plannedReport(plan, await attachments, run);
  await publishTree(built, run);
  return signedReport('signed', { plan, built, found: await attachments }, run);
}

/** Plans what to sign, and requires that the image contains what was requested. */
async function makePlan(
  run: SigningRun,
  purpose: PlanPurpose,
  permission: Promise<void> | undefined,
): Promise<PlanNode> {
  const plan = await planTree(run, purpose, permission);
  const images = imagesOf(plan);
  if (images.length === 0 && !run.allowUnmatched)
    refuseArtifacts(artifactTypesOf(plan), run.source.repository);
  requirePlatforms(images, run);
  const shadowed = findShadowed(images);
  const visible = images.filter((_, index) => shadowed[index] !== true);
  requireMatches(
    visible.map(({ scan, modules }) => ({ files: modules, unmatched: scan.unmatched })),
    run,
  );
  return plan;
}
