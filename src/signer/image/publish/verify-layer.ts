import type { X509Certificate } from 'node:crypto';
import { defaultLayerLimits } from '../../../registry/layer/layer-source.ts';
import { scanBlob } from '../../../registry/layer/scan-in-thread.ts';
import type { TarEntry } from '../../../registry/tar/entry.ts';
import type { LentChunks } from '../../../shared/chunks.ts';
import { SignerError } from '../../model/errors.ts';
import type { HashAlgorithm } from '../../model/module.ts';
import { detectModuleCompression, unpackModule } from '../../kmod/compression.ts';
import { verifyModule } from '../../kmod/verify-module.ts';
import { Spool } from '../read/spool.ts';

/** What a layer must contain before it is published. */
export interface ExpectedLayer {
  /** Bytes of the blob, or about how many. */
  readonly size: number;
  /** Positions in the tar of the signed modules. */
  readonly entries: ReadonlySet<number>;
  readonly certificate: X509Certificate;
  readonly hash: HashAlgorithm;
  readonly temporaryDirectory?: string | undefined;
}

/**
 * Unpacks a layer's blob and verifies every signed module in it, from the bytes alone.
 * @returns the number of modules verified
 * @throws SignerError VERIFICATION_FAILED
 */
export async function verifyLayer(blob: LentChunks, expected: ExpectedLayer): Promise<number> {
  await using spool = new Spool(expected.temporaryDirectory);
  let verified = 0;
  await scanBlob({
    source: blob,
    size: expected.size,
    filter: { indexes: expected.entries },
    limits: defaultLayerLimits,
    accepts: () => true,
    onFile: async (entry) => {
      if (!expected.entries.has(entry.index)) return;
      await verifyEntry(entry, spool, expected);
      verified += 1;
    },
  });
  if (verified === expected.entries.size) return verified;
  throw new SignerError({
    code: 'VERIFICATION_FAILED',
    message: `the layer that was written contains ${verified} of ${expected.entries.size} signed modules; nothing was published`,
  });
}

async function verifyEntry(
  entry: TarEntry,
  spool: Spool,
  { certificate, hash }: ExpectedLayer,
): Promise<void> {
  const content = await spool.load(entry);
  const compression = detectModuleCompression(await content.read(0, 6));
  const { state, signature, problem } = await verifyModule(await unpackModule(content, compression), [
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
