import { isAttestation } from '../../registry/image/attestation.ts';
import { readImageConfig, type ImageConfig } from '../../registry/image/config.ts';
import type { ImageRepository } from '../../registry/image/repository.ts';
import type { ChildDescriptor, ImageIndex, ImageManifest, Manifest } from '../../registry/manifest.ts';
import { isImageConfigType } from '../../registry/media-types.ts';
import { formatPlatform, type Platform } from '../../registry/platform.ts';
import type { FilePattern } from '../patterns.ts';
import type { ProgressListener } from '../report.ts';
import { LayerStore } from './layer-store.ts';
import { EarlySignatures } from './early-signatures.ts';
import type { ModuleSigning } from './module-signing.ts';
import { changes, planModules, type PlannedModule } from './plan.ts';
import { prepareModule, type Prepared } from './prepare.ts';
import { scanImage, type ScanResult } from './scan.ts';
import type { Spool } from './spool.ts';
import { isAskedFor } from './walk.ts';

/** One image of one platform, read and decided upon. */
export interface ImagePlan {
  readonly type: 'image';
  readonly manifest: ImageManifest;
  /** undefined when neither the index nor the configuration says. */
  readonly platform: Platform | undefined;
  readonly config: ImageConfig;
  readonly scan: ScanResult<Prepared>;
  readonly modules: readonly PlannedModule[];
  readonly layerStore: LayerStore | undefined;
}

/** What becomes of a manifest: signed, passed through, or (an index) rebuilt from its children. */
export type PlanNode =
  | ImagePlan
  | { readonly type: 'kept'; readonly manifest: Manifest }
  | { readonly type: 'index'; readonly manifest: ImageIndex; readonly children: readonly PlannedChild[] };

export interface PlannedChild {
  readonly descriptor: ChildDescriptor;
  /** undefined: left out, because it describes another child as it was before. */
  readonly node: PlanNode | undefined;
}

export interface PlanOptions {
  readonly repository: ImageRepository;
  readonly patterns: readonly FilePattern[] | null;
  /** undefined: all. */
  readonly platforms: readonly Platform[] | undefined;
  readonly signing: ModuleSigning;
  readonly spool: Spool;
  /** Keep the blobs of layers, since they will be written anew. */
  readonly keepLayers: boolean;
  /** Begin to sign while layers are read. */
  readonly signEarly: boolean;
  /** Takes what lives as long as the run. */
  readonly disposables: AsyncDisposableStack;
  readonly temporaryDirectory: string | undefined;
  readonly onProgress: ProgressListener | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Reads a manifest and everything below it, and decides what becomes of each part. @throws RegistryError, SignerError */
export async function planTree(
  manifest: Manifest,
  options: PlanOptions,
  described?: Platform,
): Promise<PlanNode> {
  if (manifest.kind === 'image') return planImage(manifest, options, described);
  const children: { descriptor: ChildDescriptor; node: PlanNode }[] = [];
  for (const descriptor of manifest.manifests) {
    children.push({ descriptor, node: await planChild(descriptor, options) });
  }
  if (!children.some(({ node }) => isChanged(node))) return { type: 'kept', manifest };
  return {
    type: 'index',
    manifest,
    children: children.map(({ descriptor, node }) =>
      isAttestation(descriptor) ? { descriptor, node: undefined } : { descriptor, node },
    ),
  };
}

/** Whether a node will have another digest than before. */
export function isChanged(node: PlanNode): boolean {
  switch (node.type) {
    case 'image':
      return node.modules.some(changes);
    case 'index':
      return true;
    case 'kept':
      return false;
  }
}

/** The images of a plan in the order of their index, those without modules left out. */
export function imagesOf(node: PlanNode): ImagePlan[] {
  switch (node.type) {
    case 'image':
      return [node];
    case 'index':
      return node.children.flatMap((child) => (child.node === undefined ? [] : imagesOf(child.node)));
    case 'kept':
      return [];
  }
}

async function planChild(descriptor: ChildDescriptor, options: PlanOptions): Promise<PlanNode> {
  const { repository, platforms, signal } = options;
  const manifest = await repository.getManifest({ digest: descriptor.digest }, { signal });
  const { platform } = descriptor;
  const excluded = platform !== undefined && !isAskedFor(platform, platforms);
  if (excluded || isAttestation(descriptor)) return { type: 'kept', manifest };
  return planTree(manifest, options, platform);
}

async function planImage(
  manifest: ImageManifest,
  options: PlanOptions,
  described: Platform | undefined,
): Promise<PlanNode> {
  const { repository, patterns, platforms, signing, spool, onProgress, signal } = options;
  if (!isImageConfigType(manifest.config.mediaType)) return { type: 'kept', manifest };
  const config = await readImageConfig(repository, manifest, { signal });
  const platform = described ?? config.platform;
  if (!isAskedFor(platform, platforms)) return { type: 'kept', manifest };
  const name = platform === undefined ? null : formatPlatform(platform);
  onProgress?.({ type: 'platform', platform: name, digest: manifest.raw.digest });
  const layerStore = options.keepLayers
    ? options.disposables.use(new LayerStore(options.temporaryDirectory))
    : undefined;
  const { hash, signer } = signing;
  const signatures = options.signEarly ? new EarlySignatures(signing) : undefined;
  const scan = await scanImage({
    repository,
    manifest,
    patterns,
    capture: (entry) =>
      prepareModule(entry, { spool, hash, certificate: signer.certificate, signatures, signal }),
    layerStore,
    onProgress,
    signal,
  });
  for (const { path } of scan.files) onProgress?.({ type: 'module-found', path });
  const modules = planModules(scan.files, signing);
  await layerStore?.retain(new Set(modules.filter(changes).map(({ found }) => found.layer)));
  return { type: 'image', manifest, platform, config, scan, modules, layerStore };
}
