import { ignoreRejection } from '../../../shared/abortable.ts';
import type { Digest } from '../../../registry/model/digest.ts';
import { describedByChild, type ClassifiedManifest } from '../../../registry/image/classify.ts';
import type {
  ChildDescriptor,
  ImageIndex,
  ImageManifest,
  Manifest,
} from '../../../registry/model/manifest.ts';
import { formatPlatform, isUnknownPlatform } from '../../../registry/model/platform.ts';
import { LayerStore } from '../read/layer-store.ts';
import { EarlySignatures } from './early-signatures.ts';
import type { SigningRun } from './signing-run.ts';
import { checkOstreeLinks } from './ostree.ts';
import {
  changes,
  moduleWarnings,
  planModules,
  prepareModule,
  type PlannedModule,
  type Prepared,
} from './plan-modules.ts';
import type { FileVisitor } from '../read/captures.ts';
import { ManifestTree, type TreeNode } from '../read/manifest-tree.ts';
import { scanImage, type ScanResult } from '../read/scan.ts';
import { isRequestedPlatform, type PlatformImage } from '../read/platform-images.ts';

/** The plan for one image of one platform. */
export interface ImagePlan extends PlatformImage {
  readonly type: 'image';
  readonly scan: ScanResult<Prepared>;
  readonly modules: readonly PlannedModule[];
  readonly warnings: readonly string[];
  readonly layerStore: LayerStore | undefined;
}

/** What happens to a manifest: signed, passed through, or (for an index) rebuilt from its children. */
export type PlanNode =
  | ImagePlan
  | {
      readonly type: 'unchanged';
      readonly manifest: Manifest;
      /** Set only for something that no runtime can run. */
      readonly artifactType?: string;
    }
  | IndexPlan;

/** An index with at least one changed child. */
export interface IndexPlan {
  readonly type: 'index';
  readonly manifest: ImageIndex;
  readonly children: readonly PlannedChild[];
}

export interface PlannedChild {
  readonly descriptor: ChildDescriptor;
  /** The child's plan, or why it is dropped: it describes another child as it was before. */
  readonly node: PlanNode | { readonly type: 'dropped'; readonly reason: string };
}

/** What a plan is for. The bytes needed for writing are kept only if something will be written. */
export type PlanPurpose = 'report' | 'write';

/** The state of planning. */
interface Planning {
  readonly run: SigningRun;
  readonly purpose: PlanPurpose;
  readonly tree: ManifestTree;
  readonly permission: Promise<void>;
  /** Images planned so far: an index may name one image several times. */
  readonly images: Map<Digest, ImagePlan>;
}

/**
 * Reads the source and everything below it, and plans what happens to each part.
 * @param permission awaited before the first layer is read; while it is asked for, what is small is read
 * @throws RegistryError, SignerError, above all what `permission` rejects with
 */
export async function planTree(
  run: SigningRun,
  purpose: PlanPurpose,
  permission: Promise<void> = Promise.resolve(),
): Promise<PlanNode> {
  ignoreRejection(permission);
  const tree = new ManifestTree(run.source.repository, run.signal);
  const planning = { run, purpose, tree, permission, images: new Map<Digest, ImagePlan>() };
  try {
    return await planNode(await tree.top(run.sourceManifest), 0, planning);
  } finally {
    await permission;
  }
}

/** @param depth 0 for the manifest at the top */
async function planNode(read: TreeNode, depth: number, planning: Planning): Promise<PlanNode> {
  if (read.kind === 'unwanted') return { type: 'unchanged', manifest: read.manifest };
  if (read.kind === 'image') return planImage(read.manifest, read.classified, planning);
  const { manifest } = read;
  const { platforms } = planning.run;
  const isWanted = ({ platform }: ChildDescriptor): boolean =>
    platform === undefined || isRequestedPlatform(platform, platforms) || isUnknownPlatform(platform);
  const below = planning.tree.children(manifest.manifests, depth + 1, isWanted);
  const children: { descriptor: ChildDescriptor; node: PlanNode }[] = [];
  for await (const { item: descriptor, result } of below) {
    children.push({ descriptor, node: await planNode(result, depth + 1, planning) });
  }
  const changed = new Set(
    children.flatMap(({ descriptor, node }) => (isChanged(node) ? [descriptor.digest] : [])),
  );
  if (changed.size === 0) return { type: 'unchanged', manifest };
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

/** Returns why a child must be dropped: it describes an image that changes, or does not say which one. */
function reasonToDrop(
  descriptor: ChildDescriptor,
  node: PlanNode,
  { changed, present }: { readonly changed: ReadonlySet<string>; readonly present: ReadonlySet<string> },
): string | undefined {
  const description = describedByChild(descriptor);
  if (description === undefined || node.type !== 'unchanged' || node.artifactType === undefined)
    return undefined;
  const { what, subject } = description;
  if (subject !== undefined && present.has(subject) && !changed.has(subject)) return undefined;
  return `${what} of the unsigned image`;
}

/** Returns whether a node's digest will change. */
export function isChanged(node: PlanNode): boolean {
  switch (node.type) {
    case 'image':
      return node.modules.some(changes);
    case 'index':
      return true;
    case 'unchanged':
      return false;
  }
}

/** Returns the images of a plan in index order, without those that are passed through unread. */
export function imagesOf(node: PlanNode): ImagePlan[] {
  switch (node.type) {
    case 'image':
      return [node];
    case 'index':
      return node.children.flatMap((child) => (child.node.type === 'dropped' ? [] : imagesOf(child.node)));
    case 'unchanged':
      return [];
  }
}

/** Returns the types of artifacts that no runtime can run, in a plan that changes nothing. */
export function artifactTypesOf(node: PlanNode): string[] {
  return node.type === 'unchanged' && node.artifactType !== undefined ? [node.artifactType] : [];
}

async function planImage(
  manifest: ImageManifest,
  classified: ClassifiedManifest,
  planning: Planning,
): Promise<PlanNode> {
  if (classified.type === 'artifact') {
    return { type: 'unchanged', manifest, artifactType: classified.artifactType };
  }
  const { platform } = classified;
  if (!isRequestedPlatform(platform, planning.run.platforms)) return { type: 'unchanged', manifest };
  const known = planning.images.get(manifest.raw.digest);
  if (known !== undefined) return { ...known, platform };
  const plan = await readImage({ manifest, ...classified }, planning);
  planning.images.set(manifest.raw.digest, plan);
  return plan;
}

async function readImage(image: PlatformImage, { run, purpose, permission }: Planning): Promise<ImagePlan> {
  await permission;
  const { manifest, config, platform } = image;
  const { mode, disposables, onProgress } = run;
  const writes = purpose === 'write';
  const name = platform === undefined ? null : formatPlatform(platform);
  onProgress?.({ type: 'platform', platform: name, digest: manifest.raw.digest });
  const layerStore =
    writes && mode === 'rewrite' ? disposables.use(new LayerStore(run.temporaryDirectory)) : undefined;
  const signatures = writes ? new EarlySignatures(run) : undefined;
  const visitor: FileVisitor<Prepared> = {
    headerDetail: writes && mode === 'append' ? 'attributes-and-directories' : 'attributes',
    layerStore,
    visit: (entry) => prepareModule(entry, run, signatures),
  };
  const scan = await scanImage(image, visitor, run).finally(() => {
    signatures?.end();
    run.spool.freeMemory();
  });
  const modules = planModules(scan.files, run);
  for (const { found } of modules) onProgress?.({ type: 'module-found', path: found.path });
  checkOstreeLinks(modules, mode);
  await layerStore?.retain(new Set(modules.filter(changes).map(({ found }) => found.layer)));
  const warnings = moduleWarnings(scan.files, modules);
  return { type: 'image', manifest, platform, config, scan, modules, warnings, layerStore };
}
