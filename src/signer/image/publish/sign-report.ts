import type { Digest } from '../../../registry/model/digest.ts';
import type { Manifest } from '../../../registry/model/manifest.ts';
import { contentAttributesOf } from '../../../registry/tar/pax.ts';
import { formatPlatform } from '../../../registry/model/platform.ts';
import type { HashAlgorithm } from '../../model/hash.ts';
import type {
  ChangedLayerReport,
  SignedModuleReport,
  SignedPlatformReport,
  SignMode,
  SignReport,
} from '../../model/report.ts';
import type { FoundAttachments } from '../plan/attachments.ts';
import type { BuiltImage, BuiltNode } from './build.ts';
import { isLinkedToOstree, namesOutsideOstree } from '../plan/ostree.ts';
import { changes, type PlannedModule } from '../plan/plan-modules.ts';
import { imagesOf, type ImagePlan, type PlanNode } from '../plan/plan-tree.ts';

/** What every report of a run says. */
export interface ReportBasis {
  readonly source: string;
  readonly sourceDigest: Digest;
  readonly destination: string;
  readonly mode: SignMode;
  readonly hash: HashAlgorithm;
  readonly certificateFingerprint: string;
  readonly warnings: readonly string[];
  /** What is attached to the source. @default nothing was looked for */
  readonly found?: FoundAttachments | undefined;
  /** Bytes until now. */
  readonly bytesDown: () => number;
  readonly bytesUp: () => number;
}

/** The report of a dry run. */
export function plannedReport(plan: PlanNode, basis: ReportBasis): SignReport {
  const images = imagesOf(plan);
  return report(basis, {
    status: 'planned',
    digest: null,
    platforms: images.map((image) => ({
      ...platformReport(image),
      digest: null,
      layers: plannedLayers(image, basis),
    })),
    droppedChildren: droppedChildren(plan),
    warnings: fileWarnings(plan),
  });
}

/** The report of a run that published something, or found that nothing was to do. */
export function signedReport(
  built: BuiltNode,
  basis: ReportBasis & { readonly status: 'signed' | 'unchanged'; readonly plan: PlanNode },
): SignReport {
  return report(basis, {
    status: basis.status,
    digest: built.raw.digest,
    platforms: builtPlatforms(built).map((platform) =>
      basis.status === 'signed' ? platform : asIs(platform),
    ),
    droppedChildren: droppedChildren(basis.plan),
    warnings: [...fileWarnings(basis.plan), ...notesOf(built)],
  });
}

/** The report when the destination's annotations were believed: nothing was read that could be told of. */
export function statedReport(manifest: Manifest, basis: ReportBasis): SignReport {
  return report(basis, {
    status: 'unchanged',
    digest: manifest.raw.digest,
    platforms: [],
    droppedChildren: [],
    warnings: [],
  });
}

type Rest = Pick<SignReport, 'status' | 'digest' | 'platforms' | 'droppedChildren' | 'warnings'>;

function report({ source, sourceDigest, destination, ...basis }: ReportBasis, rest: Rest): SignReport {
  return {
    status: rest.status,
    source,
    sourceDigest,
    destination,
    digest: rest.digest,
    mode: basis.mode,
    hash: basis.hash,
    certificateFingerprint: basis.certificateFingerprint,
    platforms: rest.platforms,
    droppedChildren: rest.droppedChildren,
    attachedToSource: basis.found?.attachments ?? [],
    bytesDown: basis.bytesDown(),
    bytesUp: basis.bytesUp(),
    warnings: [
      ...basis.warnings,
      ...rest.warnings,
      ...(basis.found?.problem === undefined ? [] : [basis.found.problem]),
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
    case 'kept':
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

function plannedLayers({ manifest, modules }: ImagePlan, { mode }: ReportBasis): ChangedLayerReport[] {
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

/** A platform whose signed image was there already. */
function asIs(platform: SignedPlatformReport): SignedPlatformReport {
  const modules = platform.modules.map((module): SignedModuleReport => {
    const { action, sizeAfter } = module;
    return action === 'kept'
      ? module
      : { ...module, action: 'unchanged', removedAttributes: [], sizeBefore: sizeAfter };
  });
  return { ...platform, modules, layers: [] };
}

/** What was left out of images, each sentence once for each platform. */
function notesOf(node: BuiltNode): string[] {
  switch (node.type) {
    case 'kept':
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
