import { classifyManifest, describedByChild } from '../../../registry/image/classify.ts';
import type { ImageConfig } from '../../../registry/image/config.ts';
import { ManifestReader } from '../../../registry/image/manifest-reader.ts';
import type { ImageRepository } from '../../../registry/image/repository.ts';
import type { Digest } from '../../../registry/model/digest.ts';
import type {
  ChildDescriptor,
  ImageIndex,
  ImageManifest,
  Manifest,
} from '../../../registry/model/manifest.ts';
import { formatPlatform, isUnknownPlatform, type Platform } from '../../../registry/model/platform.ts';
import type { FilePattern } from '../../model/patterns.ts';
import type { ProgressListener, SignMode } from '../../model/report.ts';
import { LayerStore } from '../read/layer-store.ts';
import { isAskedFor } from '../read/platform-images.ts';
import { scanImage, type ScanResult } from '../read/scan.ts';
import type { Spool } from '../read/spool.ts';
import { EarlySignatures } from './early-signatures.ts';
import type { ModuleSigning } from './module-signing.ts';
import { checkOstreeLinks } from './ostree.ts';
import {
  changes,
  moduleWarnings,
  planModules,
  type PlannedModule,
  type Prepared,
  prepareModule,
} from './plan-modules.ts';

/** One image of one platform, read and decided upon. */
export interface ImagePlan {
  readonly type: 'image';
  readonly manifest: ImageManifest;
  /** undefined when neither the index nor the configuration says. */
  readonly platform: Platform | undefined;
  readonly config: ImageConfig;
  readonly scan: ScanResult<Prepared>;
  readonly modules: readonly PlannedModule[];
  readonly warnings: readonly string[];
  readonly layerStore: LayerStore | undefined;
}

/** What becomes of a manifest: signed, passed through, or (an index) rebuilt from its children. */
export type PlanNode =
  | ImagePlan
  | {
      readonly type: 'kept';
      readonly manifest: Manifest;
      /** Only when it is something that no runtime could run. */
      readonly artifactType?: string;
    }
  | IndexPlan;

/** An index some of whose children change. */
export interface IndexPlan {
  readonly type: 'index';
  readonly manifest: ImageIndex;
  readonly children: readonly PlannedChild[];
}

export interface PlannedChild {
  readonly descriptor: ChildDescriptor;
  /** Or why it is left out: it describes another child as it was before. */
  readonly node: PlanNode | { readonly type: 'dropped'; readonly reason: string };
}

export interface PlanOptions {
  readonly repository: ImageRepository;
  readonly patterns: readonly FilePattern[] | null;
  /** undefined: all. */
  readonly platforms: readonly Platform[] | undefined;
  readonly signing: ModuleSigning;
  readonly mode: SignMode;
  readonly spool: Spool;
  /** Keep the blobs of layers, since they will be written anew. */
  readonly keepLayers: boolean;
  /** Keep the headers of directories, since a layer will be appended. */
  readonly keepDirectories: boolean;
  /** Begin to sign while layers are read. */
  readonly signEarly: boolean;
  /** Takes what lives as long as the run. */
  readonly disposables: AsyncDisposableStack;
  readonly temporaryDirectory: string | undefined;
  readonly onProgress: ProgressListener | undefined;
  readonly signal: AbortSignal | undefined;
}

/** What one plan has read until now. */
interface Reading {
  readonly reader: ManifestReader;
  /** An index may name one image several times. */
  readonly images: Map<Digest, ImagePlan>;
}

/** Where a manifest stands in the tree. */
interface Position {
  readonly depth: number;
  /** The platform that its descriptor states. */
  readonly described: Platform | undefined;
}

/** Reads a manifest and everything below it, and decides what becomes of each part. @throws RegistryError, SignerError */
export function planTree(manifest: Manifest, options: PlanOptions): Promise<PlanNode> {
  const reading = { reader: new ManifestReader(options.repository), images: new Map<Digest, ImagePlan>() };
  return planNode(manifest, { depth: 0, described: undefined }, options, reading);
}

async function planNode(
  manifest: Manifest,
  position: Position,
  options: PlanOptions,
  reading: Reading,
): Promise<PlanNode> {
  if (manifest.kind === 'image') return planImage(manifest, position, options, reading);
  const { platforms, signal } = options;
  const children: { descriptor: ChildDescriptor; node: PlanNode }[] = [];
  for (const descriptor of manifest.manifests) {
    const { platform } = descriptor;
    const depth = position.depth + 1;
    const below = await reading.reader.read(descriptor, { depth, signal });
    const excluded =
      platform !== undefined && !isAskedFor(platform, platforms) && !isUnknownPlatform(platform);
    const node: PlanNode = excluded
      ? { type: 'kept', manifest: below }
      : await planNode(below, { depth, described: platform }, options, reading);
    children.push({ descriptor, node });
  }
  const changed = new Set(
    children.flatMap(({ descriptor, node }) => (isChanged(node) ? [descriptor.digest] : [])),
  );
  if (changed.size === 0) return { type: 'kept', manifest };
  const present = new Set(manifest.manifests.map(({ digest }) => digest));
  return {
    type: 'index',
    manifest,
    children: children.map(({ descriptor, node }) => {
      const reason = reasonToDrop(descriptor, node, { changed, present });
      return reason === undefined ? { descriptor, node } : { descriptor, node: { type: 'dropped', reason } };
    }),
  };
}

/** Why a child cannot stay: it describes an image that changes, or one that it does not name. */
function reasonToDrop(
  descriptor: ChildDescriptor,
  node: PlanNode,
  { changed, present }: { readonly changed: ReadonlySet<string>; readonly present: ReadonlySet<string> },
): string | undefined {
  const description = describedByChild(descriptor);
  if (description === undefined || node.type !== 'kept' || node.artifactType === undefined) return undefined;
  const { what, subject } = description;
  if (subject !== undefined && present.has(subject) && !changed.has(subject)) return undefined;
  return `${what} of the unsigned image`;
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
      return node.children.flatMap((child) => (child.node.type === 'dropped' ? [] : imagesOf(child.node)));
    case 'kept':
      return [];
  }
}

/** The types of what no runtime could run, in a plan that changes nothing. */
export function artifactTypesOf(node: PlanNode): string[] {
  return node.type === 'kept' && node.artifactType !== undefined ? [node.artifactType] : [];
}

async function planImage(
  manifest: ImageManifest,
  { described }: Position,
  options: PlanOptions,
  { images }: Reading,
): Promise<PlanNode> {
  const { repository, platforms, signal } = options;
  const classified = await classifyManifest(repository, manifest, { platform: described, signal });
  if (classified.type === 'artifact') {
    return { type: 'kept', manifest, artifactType: classified.artifactType };
  }
  const { platform } = classified;
  if (!isAskedFor(platform, platforms)) return { type: 'kept', manifest };
  const known = images.get(manifest.raw.digest);
  if (known !== undefined) return { ...known, platform };
  const plan = await readImage({ manifest, ...classified }, options);
  images.set(manifest.raw.digest, plan);
  return plan;
}

async function readImage(
  { manifest, config, platform }: Pick<ImagePlan, 'manifest' | 'config' | 'platform'>,
  options: PlanOptions,
): Promise<ImagePlan> {
  const { repository, patterns, signing, spool, onProgress, signal } = options;
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
    config,
    patterns,
    capture: (entry) =>
      prepareModule(entry, { spool, hash, certificate: signer.certificate, signatures, signal }),
    layerStore,
    keeps: options.keepDirectories ? 'attributes-and-directories' : 'attributes',
    onProgress,
    signal,
  });
  const modules = planModules(scan.files, signing);
  for (const { found } of modules) onProgress?.({ type: 'module-found', path: found.path });
  checkOstreeLinks(modules, options.mode);
  await layerStore?.retain(new Set(modules.filter(changes).map(({ found }) => found.layer)));
  const warnings = moduleWarnings(scan.files, modules);
  return { type: 'image', manifest, platform, config, scan, modules, warnings, layerStore };
}
