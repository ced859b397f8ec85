import type { Digest } from '../../registry/digest.ts';
import { isAttestation } from '../../registry/image/attestation.ts';
import { formatPlatform } from '../../registry/platform.ts';
import type { HashAlgorithm } from '../hash.ts';
import type {
  ChangedLayerReport,
  SignedModuleReport,
  SignedPlatformReport,
  SignMode,
  SignReport,
} from '../report.ts';
import type { BuiltImage, BuiltNode } from './build.ts';
import type { EarlierResult } from './earlier-result.ts';
import { changes, type PlannedModule } from './plan.ts';
import { imagesOf, type ImagePlan, type PlanNode } from './plan-tree.ts';

/** What every report of a run says. */
export interface ReportBasis {
  readonly source: string;
  readonly sourceDigest: Digest;
  readonly destination: string;
  readonly mode: SignMode;
  readonly hash: HashAlgorithm;
  readonly certificateFingerprint: string;
  readonly warnings: readonly string[];
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
    warnings: images.flatMap(({ scan }) => scan.warnings),
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
    platforms: builtPlatforms(built),
    droppedChildren: droppedChildren(basis.plan),
    warnings: imagesOf(basis.plan).flatMap(({ scan }) => scan.warnings),
  });
}

/** The report when the destination holds the result already. */
export function earlierReport({ manifest, images }: EarlierResult, basis: ReportBasis): SignReport {
  return report(basis, {
    status: 'unchanged',
    digest: manifest.raw.digest,
    platforms: images.map(({ platform, digest, modules, scan }) => ({
      platform,
      sourceDigest: basis.sourceDigest,
      digest,
      modules: modules.flatMap(({ path, otherNames, info, compression, layer, size }) =>
        info === null
          ? []
          : [
              {
                path,
                otherNames,
                info,
                compression,
                layer,
                action: 'unchanged',
                sizeBefore: size,
                sizeAfter: size,
              },
            ],
      ),
      layers: [],
      layersRead: scan.layersRead,
      layerBytesRead: scan.layerBytesRead,
    })),
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
    bytesDown: basis.bytesDown(),
    bytesUp: basis.bytesUp(),
    warnings: [...basis.warnings, ...rest.warnings],
  };
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
  };
}

function moduleReport(
  { found, module, action }: PlannedModule,
  { manifest }: ImagePlan,
  sizeAfter = module.size,
): SignedModuleReport[] {
  const layer = manifest.layers[found.layer]?.digest;
  if (layer === undefined) return [];
  const otherNames = found.file.names.filter((name) => name !== found.path);
  const { info, compression, size } = module;
  return [{ path: found.path, otherNames, info, compression, action, layer, sizeBefore: size, sizeAfter }];
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
  return node.children.flatMap(({ descriptor, node: child }) => {
    if (child !== undefined) return droppedChildren(child);
    const reason = isAttestation(descriptor) ? 'attestation of the unsigned image' : 'left out';
    return [{ digest: descriptor.digest, reason }];
  });
}
