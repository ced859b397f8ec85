import { ignoreRejection } from '../../../shared/abortable.ts';
import type { Digest } from '../../../registry/model/digest.ts';
import { staleAnnotations } from '../../../registry/image/classify.ts';
import { replaceChildren, type ChildReplacement } from '../../../registry/image/update-manifest.ts';
import type { Descriptor, ImageManifest, Manifest, RawManifest } from '../../../registry/model/manifest.ts';
import { layerMediaType } from '../../../registry/model/media-types.ts';
import { claimsOf, signingAnnotations, type SigningClaims } from './annotations.ts';
import { packLayer } from '../../../registry/tar/pack.ts';
import { appendedEntries, checkAppended } from './append-layer.ts';
import type { SigningRun } from '../plan/signing-run.ts';
import { changes } from '../plan/plan-modules.ts';
import { signModules, type SignedModule } from './sign-modules.ts';
import { isLinkedToOstree } from '../plan/ostree.ts';
import { imagesOf, isChanged, type ImagePlan, type IndexPlan, type PlanNode } from '../plan/plan-tree.ts';
import { verifyLayer } from './verify-layer.ts';
import { replacedDescriptor, writeSignedImage, type SignedImageParts } from './signed-manifest.ts';
import { rewriteLayer, writeNewLayer, type NewLayer, type BlobReaders } from './write-layer.ts';

/** A layer that was written, and its place in the image. */
export interface BuiltLayer {
  readonly layer: NewLayer;
  readonly descriptor: Descriptor;
  /** The layer that it replaces; null if appended. */
  readonly replaces: Descriptor | null;
  /** Positions in its tar of the signed modules. */
  readonly entries: ReadonlySet<number>;
  /** Resolves when its bytes have been unpacked again and every module in them is verified. */
  readonly verification: Promise<void>;
}

/** An image with its modules signed, ready to be published once its layers are verified. */
export interface BuiltImage {
  readonly type: 'image';
  readonly plan: ImagePlan;
  readonly signed: readonly SignedModule[];
  readonly raw: RawManifest;
  readonly config: { readonly descriptor: Descriptor; readonly bytes: Buffer };
  readonly layers: readonly BuiltLayer[];
  /** Sentences about labels and annotations that were left out because they would be false. */
  readonly notes: readonly string[];
  /** What manifest and configuration were made from. */
  readonly parts: SignedImageParts;
}

/** What will be published for a manifest. */
export type BuiltNode =
  | BuiltImage
  | {
      readonly type: 'unchanged';
      readonly raw: RawManifest;
      readonly manifest: Manifest;
      readonly plan?: ImagePlan;
    }
  | {
      readonly type: 'index';
      readonly raw: RawManifest;
      readonly children: readonly BuiltNode[];
      readonly plan: IndexPlan;
      readonly claims: SigningClaims;
    };

/** Bytes of a blob from which it is uploaded while it is written; a smaller one would take a request more. */
const minEarlyUpload = 4 * 1024 * 1024;

/** How a tree is built. */
interface Build {
  readonly run: SigningRun;
  /** Whether large layers are uploaded while they are written. */
  readonly uploads: boolean;
  /** Images built so far; an index may name one several times. */
  readonly images: Map<Digest, BuiltImage>;
}

/**
 * Signs and writes everything that changes, starts verifying it, and creates the new manifests.
 * @param options `uploads`: whether the result will be stored, so that uploads of large layers begin as they are written
 * @throws SignerError, RegistryError
 */
export function buildTree(
  node: PlanNode,
  run: SigningRun,
  { uploads }: { readonly uploads: boolean },
): Promise<BuiltNode> {
  return buildNode(node, { run, uploads, images: new Map() });
}

async function buildNode(node: PlanNode, build: Build): Promise<BuiltNode> {
  const { run, images } = build;
  if (node.type === 'unchanged')
    return { type: 'unchanged', raw: node.manifest.raw, manifest: node.manifest };
  if (node.type === 'image') {
    const { raw } = node.manifest;
    if (!isChanged(node)) return { type: 'unchanged', raw, manifest: node.manifest, plan: node };
    const known = images.get(raw.digest);
    if (known !== undefined) return { ...known, plan: node };
    const image = await buildImage(node, build);
    images.set(raw.digest, image);
    return image;
  }
  const children: BuiltNode[] = [];
  for (const { node: child } of node.children) {
    if (child.type !== 'dropped') children.push(await buildNode(child, build));
  }
  const claims = claimsOf(run);
  return { type: 'index', plan: node, claims, children, raw: writeSignedIndex(node, children, claims) };
}

/** Returns the result as if the source had been referenced by another name. */
export function renameBase(node: BuiltNode, baseName: string | null): BuiltNode {
  switch (node.type) {
    case 'unchanged':
      return node;
    case 'image': {
      const parts = { ...node.parts, claims: { ...node.parts.claims, baseName } };
      return { ...node, parts, ...writeSignedImage(parts) };
    }
    case 'index': {
      const children = node.children.map((child) => renameBase(child, baseName));
      const claims = { ...node.claims, baseName };
      return { ...node, claims, children, raw: writeSignedIndex(node.plan, children, claims) };
    }
  }
}

/** @param children results of the children that are not dropped */
function writeSignedIndex(
  plan: IndexPlan,
  children: readonly BuiltNode[],
  claims: SigningClaims,
): RawManifest {
  const replacements = new Map<number, ChildReplacement>();
  const waiting = children.values();
  for (const [index, { descriptor, node }] of plan.children.entries()) {
    const built = node.type === 'dropped' ? undefined : waiting.next().value;
    if (built === undefined) replacements.set(index, 'drop');
    else if (built.type !== 'unchanged') replacements.set(index, changedChild(descriptor, built.raw));
  }
  const modulesSigned = imagesOf(plan).flatMap((image) => image.modules.filter(changes)).length;
  const annotations = signingAnnotations(claims, plan.manifest.raw.digest, modulesSigned);
  return replaceChildren(plan.manifest, replacements, annotations);
}

/** Returns the new fields of a child's descriptor. */
export function changedChild({ annotations }: Descriptor, raw: RawManifest): ChildReplacement {
  const place = { digest: raw.digest, size: raw.bytes.length };
  if (annotations === undefined) return place;
  const stale = staleAnnotations(annotations);
  if (stale.length === 0) return place;
  const kept = Object.entries(annotations).filter(([name]) => !stale.includes(name));
  return { ...place, annotations: Object.fromEntries(kept) };
}

async function buildImage(plan: ImagePlan, build: Build): Promise<BuiltImage> {
  const { run } = build;
  const { manifest } = plan;
  const { mode, sourceDateEpoch, onProgress } = run;
  const total = plan.modules.filter(changes).length;
  let done = 0;
  const signed = await signModules(plan.modules, run, ({ found }) =>
    onProgress?.({ type: 'module-signed', path: found.path, done: ++done, total }),
  );
  const built = mode === 'append' ? [await append(plan, signed, build)] : await rewrite(plan, signed, build);
  const parts = {
    source: plan,
    claims: claimsOf(run),
    mode,
    sourceDateEpoch,
    modulesSigned: signed.length,
    layers: withNewLayers(manifest, manifest.layers, built, ({ descriptor }) => descriptor),
    diffIds: withNewLayers(manifest, plan.config.diffIds, built, ({ layer }) => layer.written.diffId),
    linksBroken: signed.some(isLinkedToOstree),
  };
  return { type: 'image', plan, signed, layers: built, parts, ...writeSignedImage(parts) };
}

async function rewrite(
  plan: ImagePlan,
  signed: readonly SignedModule[],
  build: Build,
): Promise<BuiltLayer[]> {
  const { run } = build;
  const layers: BuiltLayer[] = [];
  for (const [index, modules] of Map.groupBy(signed, ({ found }) => found.layer)) {
    const replaces = plan.manifest.layers[index];
    if (replaces === undefined || plan.layerStore === undefined) throw new RangeError(`no layer ${index}`);
    const replacements = new Map(modules.map(({ found, replacement }) => [found.header.index, replacement]));
    const entries = new Set(replacements.keys());
    const blob = plan.layerStore.open(index);
    const readers = readersOf(replaces.size, entries, build);
    const layer = run.disposables.use(await rewriteLayer(blob, replacements, readers, run));
    const { compression } = layer;
    const descriptor = replacedDescriptor(replaces, { ...layer.written, compression }, plan.manifest.family);
    layers.push({ layer, descriptor, replaces, entries, verification: reportWritten(layer, run) });
  }
  return layers;
}

async function append(plan: ImagePlan, signed: readonly SignedModule[], build: Build): Promise<BuiltLayer> {
  const { run } = build;
  const { sourceDateEpoch, disposables } = run;
  const packed = appendedEntries({ modules: signed, directories: plan.scan.directories, sourceDateEpoch });
  if (plan.scan.overlay !== undefined) await checkAppended(plan.scan.overlay, packed, signed);
  const entries = new Set(packed.flatMap(({ type }, index) => (type === 'file' ? [index] : [])));
  // Modules pack to about a quarter.
  const expectedSize = signed.reduce((sum, { replacement }) => sum + replacement.size / 4, 0);
  const readers = readersOf(expectedSize, entries, build);
  const layer = disposables.use(await writeNewLayer(packLayer(packed), 'gzip', readers, run));
  const { digest, size } = layer.written;
  const descriptor = { mediaType: layerMediaType(plan.manifest.family, layer.compression), digest, size };
  return { layer, descriptor, replaces: null, entries, verification: reportWritten(layer, run) };
}

/** @param size bytes of the blob, or about how many */
function readersOf(size: number, entries: ReadonlySet<number>, { run, uploads }: Build): BlobReaders {
  const { signer, hash, temporaryDirectory, destination, signal } = run;
  const expected = { size, entries, certificate: signer.certificate, hash, temporaryDirectory };
  const isUploaded = uploads && size >= minEarlyUpload;
  return {
    verify: (blob) => verifyLayer(blob, expected),
    upload: (open) => (isUploaded ? destination.repository.beginBlob?.(open, { signal }) : undefined),
  };
}

function reportWritten({ written, verification }: NewLayer, { onProgress }: SigningRun): Promise<void> {
  const { digest, size } = written;
  onProgress?.({ type: 'layer-written', digest, size });
  const verified = verification.then((modules) => onProgress?.({ type: 'verified', modules }));
  // Awaited when the layer is published; until then, a rejection must not be reported as unhandled.
  ignoreRejection(verified);
  return verified;
}

/** Returns one value per layer of the image: a new layer's in place of the one it replaces, or on top. */
function withNewLayers<T>(
  manifest: ImageManifest,
  before: readonly T[],
  layers: readonly BuiltLayer[],
  value: (layer: BuiltLayer) => T,
): T[] {
  const replaced = before.map((original, index) => {
    const layer = layers.find(({ replaces }) => replaces === manifest.layers[index]);
    return layer === undefined ? original : value(layer);
  });
  return [...replaced, ...layers.filter(({ replaces }) => replaces === null).map(value)];
}
