import { Readable } from 'node:stream';
import { RegistryError } from '../../../registry/model/errors.ts';
import type { ImageRepository } from '../../../registry/image/repository.ts';
import type { Descriptor, Manifest, RawManifest } from '../../../registry/model/manifest.ts';
import { isElsewhere } from '../../../registry/image/read-blob.ts';
import { inParallel } from '../../../shared/parallel.ts';
import type { ProgressListener } from '../../model/report.ts';
import { ManifestReader } from '../../../registry/image/manifest-reader.ts';
import type { BuiltImage, BuiltNode } from './build.ts';
import type { HashAlgorithm } from '../../model/hash.ts';
import type { Signer } from '../../cms/signer.ts';
import { proveLayer } from './prove.ts';

export interface PushDestination {
  readonly repository: ImageRepository;
  readonly tag?: string | undefined;
}

/** Codes of errors that will be the same when everything has been read and signed. */
const lasting: ReadonlySet<string> = new Set(['UNAUTHORIZED', 'DENIED', 'NOT_FOUND', 'UNSAFE_REDIRECT']);
/** The status of a registry that is read only, such as a cache of another one. */
const methodNotAllowed = 405;

/**
 * Fails where a result could not be stored, before anything is read for it. Troubles that may pass are left to the time
 * when it is stored; so is a refusal where the tag names the source itself, since then nothing may have to change.
 * @throws RegistryError UNAUTHORIZED, DENIED, NOT_FOUND, UNSAFE_REDIRECT, UNEXPECTED_RESPONSE
 */
export async function requirePush(
  destination: PushDestination,
  { source, signal }: { readonly source: Manifest; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  try {
    await destination.repository.checkPush?.({ signal });
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof RegistryError)) throw error;
    if (!lasting.has(error.code) && error.facts['status'] !== methodNotAllowed) return;
    if (await isTagged(destination, source, signal)) return;
    throw error;
  }
}

async function isTagged(
  { repository, tag }: PushDestination,
  source: Manifest,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (tag === undefined) return false;
  try {
    return (await repository.resolve({ tag }, { signal })).digest === source.raw.digest;
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof RegistryError) return false;
    throw error;
  }
}

/** Transfers under way at once. */
const concurrency = 4;

/** Brings one thing to the destination, or gives up with its signal. */
type Transfer = (signal: AbortSignal) => Promise<void>;

export interface PublishOptions {
  readonly source: ImageRepository;
  readonly destination: ImageRepository;
  /** undefined: the result is stored by digest only. */
  readonly tag: string | undefined;
  /** Runs after everything was stored and before the tag moves. */
  readonly beforeTag?: (() => Promise<void>) | undefined;
  readonly onProgress?: ProgressListener | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Stores what was built: blobs, and once they are proved, manifests by digest, children first; reads the
 * top manifest back; and moves the tag last of all. @throws RegistryError, SignerError VERIFICATION_FAILED
 */
export async function publishTree(node: BuiltNode, options: PublishOptions): Promise<void> {
  const { destination, tag, onProgress, signal } = options;
  await storeNode(node, options);
  const stored = await destination.getManifest({ digest: node.raw.digest }, { signal });
  if (!stored.raw.bytes.equals(node.raw.bytes)) {
    throw new RegistryError({
      code: 'DIGEST_MISMATCH',
      message: `${destination.name} gives other bytes for ${node.raw.digest} than were stored; the tag was not moved`,
      facts: { repository: destination.name, digest: node.raw.digest },
    });
  }
  await options.beforeTag?.();
  if (tag === undefined) return;
  await destination.putManifest(node.raw, { tag, signal });
  onProgress?.({ type: 'tagged', image: `${destination.name}:${tag}`, digest: node.raw.digest });
}

async function storeNode(node: BuiltNode, options: PublishOptions): Promise<void> {
  switch (node.type) {
    case 'kept':
      return copyTree(node.manifest, options);
    case 'image':
      await storeBlobs(node, options);
      break;
    case 'index':
      for (const child of node.children) await storeNode(child, options);
      break;
  }
  await store(node.raw, options);
}

async function storeBlobs(image: BuiltImage, options: PublishOptions): Promise<void> {
  const { destination, onProgress, signal } = options;
  const replaced = new Set(image.layers.map(({ replaces }) => replaces));
  const unchanged = image.plan.manifest.layers.filter((descriptor) => !replaced.has(descriptor));
  const uploads = image.layers.map(({ descriptor, layer }): Transfer => async (stop) => {
    const outcome = await destination.putBlob(descriptor, () => layer.open(), { signal: stop });
    onProgress?.({ type: 'blob', digest: descriptor.digest, outcome, size: descriptor.size });
  });
  const config: Transfer = async (stop) => {
    const { descriptor, bytes } = image.config;
    await destination.putBlob(descriptor, () => Readable.from([bytes]), { signal: stop });
  };
  const transfers = [...uploads, config, ...copies(unchanged, options)];
  const proofs = image.layers.map(
    ({ proof }): Transfer =>
      () =>
        proof,
  );
  await inParallel([(stop) => inParallel(transfers, { concurrency, signal: stop }), ...proofs], {
    concurrency: Number.POSITIVE_INFINITY,
    signal,
  });
}

/** Brings an unchanged manifest and everything below it to the destination. */
async function copyTree(
  manifest: Manifest,
  options: PublishOptions,
  { reader, depth } = { reader: new ManifestReader(options.source), depth: 0 },
): Promise<void> {
  const { source, destination, signal } = options;
  if (isSamePlace(source, destination)) return;
  if (manifest.kind === 'index') {
    const below = { reader, depth: depth + 1 };
    for (const child of manifest.manifests) {
      await copyTree(await reader.read(child, { depth: below.depth, signal }), options, below);
    }
  } else {
    await inParallel(copies([...manifest.layers, manifest.config], options), { concurrency, signal });
  }
  await store(manifest.raw, options);
}

function copies(descriptors: readonly Descriptor[], options: PublishOptions): Transfer[] {
  const { source, destination, onProgress } = options;
  if (isSamePlace(source, destination)) return [];
  const distinct = new Map(descriptors.map((descriptor) => [descriptor.digest, descriptor]));
  return [...distinct.values()].map((descriptor): Transfer => async (signal) => {
    try {
      const outcome = await destination.copyBlob(descriptor, source, { signal });
      onProgress?.({ type: 'blob', digest: descriptor.digest, outcome, size: descriptor.size });
    } catch (error) {
      // It was not needed for the verdict and is not in the source either: runtimes get it from its URLs.
      if (!isElsewhere(error, descriptor)) throw error;
    }
  });
}

async function store(raw: RawManifest, { destination, signal }: PublishOptions): Promise<void> {
  await destination.putManifest(raw, { signal });
}

function isSamePlace(source: ImageRepository, destination: ImageRepository): boolean {
  return source.name === destination.name && source.storage === destination.storage;
}

export interface ReadBackOptions {
  readonly destination: { readonly repository: ImageRepository };
  readonly signer: Signer;
  readonly hash: HashAlgorithm;
  readonly temporaryDirectory?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Downloads every layer that was pushed once more, and verifies the modules in it. @throws SignerError VERIFICATION_FAILED */
export async function readBackLayers(node: BuiltNode, options: ReadBackOptions): Promise<void> {
  if (node.type === 'index') for (const child of node.children) await readBackLayers(child, options);
  if (node.type !== 'image') return;
  const { destination, signer, hash, temporaryDirectory, signal } = options;
  for (const { descriptor, entries } of node.layers) {
    const blob = await destination.repository.openBlob(descriptor, { signal });
    await proveLayer(blob, { entries, certificate: signer.certificate, hash, temporaryDirectory });
  }
}
