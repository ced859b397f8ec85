import type { Digest } from '../../../registry/model/digest.ts';
import type { Manifest } from '../../../registry/model/manifest.ts';
import { contentAttributesOf } from '../../../registry/tar/pax.ts';
import { formatPlatform } from '../../../registry/model/platform.ts';
import type {
  ChangedLayerReport,
  SignedModuleReport,
  SignedPlatformReport,
  SignReport,
} from '../../model/report.ts';
import type { FoundAttachments } from '../plan/attachments.ts';
import { hashWarnings } from '../../cms/signer.ts';
import type { SigningRun } from '../plan/signing-run.ts';
import type { BuiltImage, BuiltNode } from './build.ts';
import { isLinkedToOstree, namesOutsideOstree } from '../plan/ostree.ts';
import { changes, type PlannedModule } from '../plan/plan-modules.ts';
import { imagesOf, type ImagePlan, type PlanNode } from '../plan/plan-tree.ts';

/** Returns the report of a dry run. */
export function plannedReport(plan: PlanNode, found: FoundAttachments, run: SigningRun): SignReport {
  const platforms = imagesOf(plan).map((image) => ({
    ...platformReport(image),
    digest: null,
    layers: plannedLayers(image, run),
  }));
  const dropped = droppedChildren(plan);
  return report(run, {
    status: 'planned',
    digest: null,
    platforms,
    dropped,
    warnings: fileWarnings(plan),
    found,
  });
}

/** Returns the report of a run that published something, or found that there was nothing to do. */
export function signedReport(
  status: 'signed' | 'unchanged',
  {
    plan,
    built,
    found,
  }: { readonly plan: PlanNode; readonly built: BuiltNode; readonly found: FoundAttachments },
  run: SigningRun,
): SignReport {
  const platforms = builtPlatforms(built);
  return report(run, {
    status,
    digest: built.raw.digest,
    platforms: status === 'signed' ? platforms : platforms.map(asIs),
    dropped: droppedChildren(plan),
    warnings: [...fileWarnings(plan), ...notesOf(built)],
    found,
  });
}

/** Returns the report of a run that trusted the destination's annotations and so read nothing to report. */
export function claimedReport({ raw: { digest } }: Manifest, run: SigningRun): SignReport {
  const found = { attachments: [], problem: undefined };
  return report(run, { status: 'unchanged', digest, platforms: [], dropped: [], warnings: [], found });
}

/** What differs between the reports of a run. */
interface Outcome extends Pick<SignReport, 'status' | 'digest' | 'platforms' | 'warnings'> {
  readonly dropped: SignReport['droppedChildren'];
  readonly found: FoundAttachments;
}

function report(run: SigningRun, { found, ...outcome }: Outcome): SignReport {
  const { source, sourceManifest, destination, signer, mode, hash } = run;
  const { repository, tag } = destination;
  return {
    status: outcome.status,
    source: source.repository.name,
    sourceDigest: sourceManifest.raw.digest,
    destination: tag === undefined ? repository.name : `${repository.name}:${tag}`,
    digest: outcome.digest,
    mode,
    hash,
    certificateFingerprint: signer.fingerprint,
    platforms: outcome.platforms,
    droppedChildren: outcome.dropped,
    attachedToSource: found.attachments,
    ...run.traffic(),
    warnings: [
      ...signer.warnings,
      ...hashWarnings(signer.key, hash),
      ...outcome.warnings,
      ...(found.problem === undefined ? [] : [found.problem]),
    ],
  };
}

function fileWarnings(plan: PlanNode): string[] {
  return [...new Set(imagesOf(plan).flatMap(({ warnings }) => warnings))];
}

function builtPlatforms(node: BuiltNode): SignedPlatformReport[] {
  switch (node.type) {
    case 'index':
      return node.children.flatMap(builtPlatforms);
    case 'unchanged':
      return node.plan === undefined || node.plan.modules.length === 0
        ? []
        : [{ ...platformReport(node.plan), digest: node.raw.digest, layers: [] }];
    case 'image':
      return [
        {
          ...platformReport(node.plan, signedSizes(node)),
          digest: node.raw.digest,
          layers: builtLayers(node),
        },
      ];
  }
}

function platformReport(plan: ImagePlan, sizes: ReadonlyMap<PlannedModule['found'], number> = new Map()) {
  return {
    platform: plan.platform === undefined ? null : formatPlatform(plan.platform),
    sourceDigest: plan.manifest.raw.digest,
    modules: plan.modules.flatMap((planned) => moduleReport(planned, plan, sizes.get(planned.found))),
    layersRead: plan.scan.layersRead,
    layerBytesRead: plan.scan.layerBytesRead,
    layersKnown: plan.scan.layersKnown.map(({ digest }) => digest),
    layersNotRead: plan.scan.layersNotRead.map(({ digest }) => digest),
  };
}

function moduleReport(
  planned: PlannedModule,
  { manifest }: ImagePlan,
  sizeAfter = planned.module.size,
): SignedModuleReport[] {
  const { found, module, action } = planned;
  const layer = manifest.layers[found.layer]?.digest;
  if (layer === undefined) return [];
  // The names in an OSTree repository keep the old content.
  const names = isLinkedToOstree({ found }) ? namesOutsideOstree(found.file.names) : found.file.names;
  const otherNames = names.filter((name) => name !== found.path);
  const { info, compression, size } = module;
  const removedAttributes = changes(planned) ? contentAttributesOf(found.header.pax) : [];
  return [
    {
      path: found.path,
      otherNames,
      info,
      compression,
      action,
      layer,
      removedAttributes,
      sizeBefore: size,
      sizeAfter,
    },
  ];
}

function signedSizes({ signed }: BuiltImage): Map<PlannedModule['found'], number> {
  return new Map(signed.map(({ found, replacement }) => [found, replacement.size]));
}

function builtLayers({ layers }: BuiltImage): ChangedLayerReport[] {
  return layers.map(({ descriptor, replaces }) => ({
    from: replaces?.digest ?? null,
    to: descriptor.digest,
    size: descriptor.size,
  }));
}

function plannedLayers({ manifest, modules }: ImagePlan, { mode }: SigningRun): ChangedLayerReport[] {
  const changed = modules.filter(changes);
  const indexes = [...new Set(changed.map(({ found }) => found.layer))].toSorted((a, b) => a - b);
  const layers = indexes.flatMap((index) => manifest.layers[index] ?? []);
  if (mode === 'rewrite') return layers.map(({ digest, size }) => ({ from: digest, to: null, size }));
  const size = changed.reduce((total, { module }) => total + module.size, 0);
  return changed.length === 0 ? [] : [{ from: null, to: null, size }];
}

function droppedChildren(node: PlanNode): { digest: Digest; reason: string }[] {
  if (node.type !== 'index') return [];
  return node.children.flatMap(({ descriptor, node: child }) =>
    child.type === 'dropped' ? [{ digest: descriptor.digest, reason: child.reason }] : droppedChildren(child),
  );
}

/** Returns the report of a platform whose signed image already existed. */
function asIs(platform: SignedPlatformReport): SignedPlatformReport {
  const modules = platform.modules.map((module): SignedModuleReport => {
    const { action, sizeAfter } = module;
    return action === 'kept'
      ? module
      : { ...module, action: 'unchanged', removedAttributes: [], sizeBefore: sizeAfter };
  });
  return { ...platform, modules, layers: [] };
}

/** Returns notes about what was left out of images, with the platform. */
function notesOf(node: BuiltNode): string[] {
  switch (node.type) {
    case 'unchanged':
      return [];
    case 'index':
      return node.children.flatMap(notesOf);
    case 'image': {
      const { platform } = node.plan;
      const where = platform === undefined ? '' : ` (${formatPlatform(platform)})`;
      return node.notes.map((note) => `${note}${where}`);
    }
  }
}
