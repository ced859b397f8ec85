import type { Readable } from 'node:stream';
import type { X509Certificate } from 'node:crypto';
import { defaultLayerLimits } from '../../registry/layer/layer.ts';
import { scanLayer } from '../../registry/layer/scan-layer.ts';
import type { TarEntry } from '../../registry/tar/entry.ts';
import { SignerError } from '../errors.ts';
import type { HashAlgorithm } from '../hash.ts';
import { detectModuleCompression, unpackModule } from '../kmod/compression.ts';
import { verifyModule } from '../kmod/verify-module.ts';
import { Spool } from './spool.ts';

/** What a layer that is about to be published must hold. */
export interface ProofOptions {
  /** Cleaned paths of the modules that were signed, as they stand in the layer. */
  readonly paths: ReadonlySet<string>;
  readonly certificate: X509Certificate;
  readonly hash: HashAlgorithm;
  readonly temporaryDirectory?: string | undefined;
}

/**
 * Unpacks a layer's blob and verifies every module that was signed in it, from the bytes alone.
 * @returns how many modules were verified
 * @throws SignerError VERIFICATION_FAILED
 */
export async function proveLayer(blob: Readable, options: ProofOptions): Promise<number> {
  await using spool = await Spool.create(options.temporaryDirectory);
  const verified = new Set<string>();
  await scanLayer({
    source: blob,
    layer: 0,
    limits: defaultLayerLimits,
    wants: (path) => options.paths.has(path),
    onFile: async (entry) => {
      await proveModule(entry, spool, options);
      verified.add(entry.path);
    },
  });
  for (const path of options.paths) {
    if (!verified.has(path)) throw failed(path, 'is missing from the layer that was written');
  }
  return verified.size;
}

async function proveModule(
  entry: TarEntry,
  spool: Spool,
  { certificate, hash }: ProofOptions,
): Promise<void> {
  const content = await spool.present(entry);
  const compression = detectModuleCompression(await content.read(0, 6));
  const { state, signature, problem } = await verifyModule(await unpackModule(content, { compression }), [
    certificate,
  ]);
  if (state !== 'trusted') throw failed(entry.path, `does not verify: ${problem ?? state}`);
  if (signature?.hash !== hash)
    throw failed(entry.path, `is signed with ${signature?.hash ?? 'no digest algorithm'}`);
}

function failed(path: string, what: string): SignerError {
  return new SignerError({
    code: 'VERIFICATION_FAILED',
    message: `/${path} ${what}; nothing was published`,
    facts: { path: `/${path}` },
  });
}
