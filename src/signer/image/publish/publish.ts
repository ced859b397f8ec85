import { Readable } from 'node:stream';
import { RegistryError } from '../../../registry/model/errors.ts';
import type { SigningRun } from '../plan/signing-run.ts';
import type { Descriptor, Manifest, RawManifest } from '../../../registry/model/manifest.ts';
import { isMissingForeignLayer } from '../../../registry/image/repository.ts';
import { inParallel } from '../../../shared/parallel.ts';
import { ManifestReader } from '../../../registry/image/manifest-reader.ts';
import type { BuiltImage, BuiltNode } from './build.ts';
import { verifyLayer } from './verify-layer.ts';

/** Codes of errors that will still occur after everything has been read and signed. */
const permanentErrors: ReadonlySet<string> = new Set([
  'UNAUTHORIZED',
  'DENIED',
  'NOT_FOUND',
  'UNSAFE_REDIRECT',
]);
/** The status of a read-only registry, such as a cache of another one. */
const methodNotAllowed = 405;

/**
 * Fails early if a result could not be stored, before anything is read for it. Errors that may be temporary
 * are ignored until it is stored; so is a refusal if the tag names the source itself, since then nothing may
 * have to change.
 * @throws RegistryError UNAUTHORIZED, DENIED, NOT_FOUND, UNSAFE_REDIRECT, UNEXPECTED_RESPONSE
 */
export async function requirePush(run: SigningRun): Promise<void> {
  const { destination, disposables, signal } = run;
  try {
    disposables.use(await destination.repository.checkPush?.({ signal }));
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof RegistryError)) throw error;
    if (!permanentErrors.has(error.code) && error.facts['status'] !== methodNotAllowed) return;
    if (await isSourceTagged(run)) return;
    throw error;
  }
}

/** Returns whether the destination's tag names the source. */
async function isSourceTagged({ destination, sourceManifest, signal }: SigningRun): Promise<boolean> {
  const { repository, tag } = destination;
  if (tag === undefined) return false;
  try {
    return (await repository.resolve({ tag }, { signal })).digest === sourceManifest.raw.digest;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof RegistryError) return false;
    throw error;
  }
}

/** Concurrent transfers. */
const concurrency = 4;

/** Transfers one blob to the destination, unless its signal is aborted. */
type Transfer = (signal: AbortSignal) => Promise<void>;

/**
 * Stores what was built: blobs and, once they are verified, manifests by digest, children first. Reads back
 * the top manifest, and layers if the run asks for it, and moves the tag last of all.
 * @throws RegistryError, SignerError VERIFICATION_FAILED
 */
export async function publishTree(node: BuiltNode, run: SigningRun): Promise<void> {
  const { onProgress, signal } = run;
  const { repository, tag } = run.destination;
  await storeNode(node, run);
  const stored = await repository.getManifest({ digest: node.raw.digest }, { signal });
  if (!stored.raw.bytes.equals(node.raw.bytes)) {
    throw new RegistryError({
      code: 'DIGEST_MISMATCH',
      message: `${repository.name} returns different bytes for ${node.raw.digest} than were stored; the tag was not moved`,
      facts: { repository: repository.name, digest: node.raw.digest },
    });
  }
  if (run.readBack) await readBackLayers(node, run);
  if (tag === undefined) return;
  await repository.putManifest(node.raw, { tag, signal });
  onProgress?.({ type: 'tagged', image: `${repository.name}:${tag}`, digest: node.raw.digest });
}

async function storeNode(node: BuiltNode, run: SigningRun): Promise<void> {
  switch (node.type) {
    case 'unchanged':
      return copyTree(node.manifest, run);
    case 'image':
      await storeBlobs(node, run);
      break;
    case 'index':
      for (const child of node.children) await storeNode(child, run);
      break;
  }
  await store(node.raw, run);
}

async function storeBlobs(image: BuiltImage, run: SigningRun): Promise<void> {
  const { onProgress, signal } = run;
  const { repository } = run.destination;
  const replaced = new Set(image.layers.map(({ replaces }) => replaces));
  const unchanged = image.plan.manifest.layers.filter((descriptor) => !replaced.has(descriptor));
  const uploads = image.layers.map(({ descriptor, layer }): Transfer => async (stop) => {
    const { begun } = layer;
    const outcome = await repository.putBlob(descriptor, () => layer.open(), { begun, signal: stop });
    onProgress?.({ type: 'blob', digest: descriptor.digest, outcome, size: descriptor.size });
  });
  const config: Transfer = async (stop) => {
    const { descriptor, bytes } = image.config;
    await repository.putBlob(descriptor, () => Readable.from([bytes]), { signal: stop });
  };
  const transfers = [...uploads, config, ...copies(unchanged, run)];
  const verifications = image.layers.map(
    ({ verification }): Transfer =>
      () =>
        verification,
  );
  await inParallel(
    [(stop) => inParallel(transfers, concurrency, stop), ...verifications],
    Number.POSITIVE_INFINITY,
    signal,
  );
}

/** Copies an unchanged manifest and everything below it to the destination. */
async function copyTree(
  manifest: Manifest,
  run: SigningRun,
  { reader, depth } = { reader: new ManifestReader(run.source.repository), depth: 0 },
): Promise<void> {
  const { signal } = run;
  if (isSameRepository(run)) return;
  if (manifest.kind === 'index') {
    const below = { reader, depth: depth + 1 };
    for (const child of manifest.manifests) {
      await copyTree(await reader.read(child, { depth: below.depth, signal }), run, below);
    }
  } else {
    await inParallel(copies([...manifest.layers, manifest.config], run), concurrency, signal);
  }
  await store(manifest.raw, run);
}

function copies(descriptors: readonly Descriptor[], run: SigningRun): Transfer[] {
  const { source, destination, onProgress } = run;
  if (isSameRepository(run)) return [];
  const distinct = new Map(descriptors.map((descriptor) => [descriptor.digest, descriptor]));
  return [...distinct.values()].map((descriptor): Transfer => async (signal) => {
    try {
      const outcome = await destination.repository.copyBlob(descriptor, source.repository, { signal });
      onProgress?.({ type: 'blob', digest: descriptor.digest, outcome, size: descriptor.size });
    } catch (error) {
      // The layer was not needed for the verdict and is not in the source either: runtimes download it from
      // its URLs.
      if (!isMissingForeignLayer(error, descriptor)) throw error;
    }
  });
}

async function store(raw: RawManifest, { destination, signal }: SigningRun): Promise<void> {
  await destination.repository.putManifest(raw, { signal });
}

function isSameRepository({
  source: { repository: from },
  destination: { repository: to },
}: SigningRun): boolean {
  return from.name === to.name && from.storage === to.storage;
}

/**
 * Downloads every pushed layer again, and verifies the modules in it. @throws SignerError VERIFICATION_FAILED
 */
async function readBackLayers(node: BuiltNode, run: SigningRun): Promise<void> {
  if (node.type === 'index') for (const child of node.children) await readBackLayers(child, run);
  if (node.type !== 'image') return;
  const { destination, signer, hash, temporaryDirectory, signal } = run;
  for (const { descriptor, entries } of node.layers) {
    const blob = await destination.repository.openBlob(descriptor, { signal });
    const { size } = descriptor;
    await verifyLayer(blob, { size, entries, certificate: signer.certificate, hash, temporaryDirectory });
  }
}
