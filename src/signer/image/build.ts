import { ignoreRejection } from '../../shared/abortable.ts';
import { updateImageConfig } from '../../registry/image/config.ts';
import { updateManifest } from '../../registry/image/update-manifest.ts';
import { replaceChildren, type ChildReplacement } from '../../registry/image/update-index.ts';
import type { Descriptor, ImageManifest, Manifest, RawManifest } from '../../registry/manifest.ts';
import { layerMediaType } from '../../registry/media-types.ts';
import type { ProgressListener, SignMode } from '../report.ts';
import { signingAnnotations, type SigningFacts } from './annotations.ts';
import { packLayer } from '../../registry/tar/pack.ts';
import { appendedEntries } from './append-layer.ts';
import type { ModuleSigning } from './module-signing.ts';
import { changes, signModules, type SignedModule } from './plan.ts';
import { imagesOf, isChanged, type ImagePlan, type PlanNode } from './plan-tree.ts';
import { proveLayer } from './prove.ts';
import type { Spool } from './spool.ts';
import { rewriteLayer, writeNewLayer, type LayerWriting, type NewLayer, type Prove } from './write-layer.ts';

/** A layer that was written, with its place in the image. */
export interface BuiltLayer {
  readonly layer: NewLayer;
  readonly descriptor: Descriptor;
  /** The layer that it takes the place of; null when appended. */
  readonly replaces: Descriptor | null;
  /** Positions in its tar of the modules that were signed. */
  readonly entries: ReadonlySet<number>;
  /** Settles when its bytes were unpacked again and every module in them was verified. */
  readonly proof: Promise<void>;
}

/** An image with its modules signed, ready to be published once its layers are proved. */
export interface BuiltImage {
  readonly type: 'image';
  readonly plan: ImagePlan;
  readonly signed: readonly SignedModule[];
  readonly raw: RawManifest;
  readonly config: { readonly descriptor: Descriptor; readonly bytes: Buffer };
  readonly layers: readonly BuiltLayer[];
}

/** What is to be published for a manifest. */
export type BuiltNode =
  | BuiltImage
  | {
      readonly type: 'kept';
      readonly raw: RawManifest;
      readonly manifest: Manifest;
      readonly plan?: ImagePlan;
    }
  | { readonly type: 'index'; readonly raw: RawManifest; readonly children: readonly BuiltNode[] };

export interface BuildOptions extends LayerWriting {
  readonly signing: ModuleSigning;
  readonly mode: SignMode;
  readonly facts: Omit<SigningFacts, 'baseDigest'>;
  readonly sourceDateEpoch: number;
  readonly spool: Spool;
  /** Takes every layer that is written, to be disposed of in the end. */
  readonly disposables: AsyncDisposableStack;
  readonly onProgress?: ProgressListener | undefined;
}

/** Signs and writes everything that changes, begins to prove it, and makes the new manifests. @throws SignerError, RegistryError */
export async function buildTree(node: PlanNode, options: BuildOptions): Promise<BuiltNode> {
  if (node.type === 'kept') return { type: 'kept', raw: node.manifest.raw, manifest: node.manifest };
  if (node.type === 'image') {
    if (isChanged(node)) return buildImage(node, options);
    return { type: 'kept', raw: node.manifest.raw, manifest: node.manifest, plan: node };
  }
  const children: BuiltNode[] = [];
  const replacements = new Map<number, ChildReplacement>();
  for (const [index, child] of node.children.entries()) {
    if (child.node === undefined) {
      replacements.set(index, 'drop');
      continue;
    }
    const built = await buildTree(child.node, options);
    children.push(built);
    if (built.type !== 'kept')
      replacements.set(index, { digest: built.raw.digest, size: built.raw.bytes.length });
  }
  const modulesSigned = imagesOf(node).flatMap((image) => image.modules.filter(changes)).length;
  const facts = { ...options.facts, baseDigest: node.manifest.raw.digest };
  const raw = replaceChildren(node.manifest, replacements, signingAnnotations(facts, modulesSigned));
  return { type: 'index', raw, children };
}

async function buildImage(plan: ImagePlan, options: BuildOptions): Promise<BuiltImage> {
  const { manifest } = plan;
  const { onProgress, signing, spool } = options;
  const total = plan.modules.filter(changes).length;
  let done = 0;
  const signed = await signModules(plan.modules, {
    ...signing,
    spool,
    onSigned: ({ found }) => onProgress?.({ type: 'module-signed', path: found.path, done: ++done, total }),
  });
  const layers =
    options.mode === 'append' ? [await append(plan, signed, options)] : await rewrite(plan, signed, options);
  const facts = { ...options.facts, baseDigest: plan.manifest.raw.digest };
  const annotations = signingAnnotations(facts, signed.length);
  const config = updateImageConfig(plan.config, {
    diffIds: withNewLayers(manifest, plan.config.diffIds, layers, ({ layer }) => layer.written.diffId),
    ...(options.mode === 'append'
      ? { appended: { createdBy: 'kmm-sign sign', created: options.sourceDateEpoch } }
      : {}),
    ...(plan.manifest.family === 'docker' ? { labels: annotations } : {}),
  });
  const raw = updateManifest(plan.manifest, {
    config: config.descriptor,
    layers: withNewLayers(manifest, manifest.layers, layers, ({ descriptor }) => descriptor),
    ...(plan.manifest.family === 'oci' ? { annotations } : {}),
  });
  return { type: 'image', plan, signed, raw, config, layers };
}

async function rewrite(
  plan: ImagePlan,
  signed: readonly SignedModule[],
  options: BuildOptions,
): Promise<BuiltLayer[]> {
  const layers: BuiltLayer[] = [];
  for (const [index, modules] of Map.groupBy(signed, ({ found }) => found.layer)) {
    const replaces = plan.manifest.layers[index];
    if (replaces === undefined || plan.layerStore === undefined) throw new RangeError(`no layer ${index}`);
    const replacements = new Map(modules.map(({ found, replacement }) => [found.header.index, replacement]));
    const entries = new Set(replacements.keys());
    const layer = options.disposables.use(
      await rewriteLayer(plan.layerStore.open(index), replacements, {
        ...options,
        prove: proverOf(entries, options),
      }),
    );
    const { digest, size } = layer.written;
    const descriptor = { ...replaces, digest, size };
    layers.push({ layer, descriptor, replaces, entries, proof: announced(layer, options) });
  }
  return layers;
}

async function append(
  plan: ImagePlan,
  signed: readonly SignedModule[],
  options: BuildOptions,
): Promise<BuiltLayer> {
  const { sourceDateEpoch, disposables } = options;
  const packed = appendedEntries({ modules: signed, directories: plan.scan.directories, sourceDateEpoch });
  const entries = new Set(packed.flatMap(({ type }, index) => (type === 'file' ? [index] : [])));
  const prove = proverOf(entries, options);
  const layer = disposables.use(await writeNewLayer(packLayer(packed), 'gzip', { ...options, prove }));
  const { digest, size } = layer.written;
  const descriptor = { mediaType: layerMediaType(plan.manifest.family, layer.compression), digest, size };
  return { layer, descriptor, replaces: null, entries, proof: announced(layer, options) };
}

function proverOf(
  entries: ReadonlySet<number>,
  { signing, temporaryDirectory }: Pick<BuildOptions, 'signing' | 'temporaryDirectory'>,
): Prove {
  const { signer, hash } = signing;
  return (blob) => proveLayer(blob, { entries, certificate: signer.certificate, hash, temporaryDirectory });
}

function announced({ written, proof }: NewLayer, { onProgress }: BuildOptions): Promise<void> {
  const { digest, size } = written;
  onProgress?.({ type: 'layer-written', digest, size });
  const verified = proof.then((modules) => onProgress?.({ type: 'verified', modules }));
  // It is awaited when the layer is published; until then a failure must not count as unhandled.
  ignoreRejection(verified);
  return verified;
}

/** What belongs to the image's layers, with the value of a new layer in the place of the one that it replaces, or on top. */
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
