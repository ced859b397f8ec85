import type { X509Certificate } from 'node:crypto';
import { type ByteSource, sliceSource } from '../../shared/byte-source.ts';
import { SignerError } from '../model/errors.ts';
import type { HashAlgorithm, ModuleCompression, ModuleInfo, ModuleLayout } from '../model/module.ts';
import { detectModuleCompression, isModuleName, unpackModule } from './compression.ts';
import { ContentDigests } from './content-digest.ts';
import { readModuleInfo } from './module-info.ts';
import { readModuleLayout } from './trailer.ts';
import { type ModuleVerdict, verifyModule } from './verify-module.ts';

/** What signing needs to know about a module file. */
export interface ModuleAnalysis {
  readonly compression: ModuleCompression;
  readonly info: ModuleInfo;
  readonly layout: ModuleLayout;
  /** The unpacked module, including any signatures. */
  readonly module: ByteSource;
  /** The module without signatures: the bytes that are signed and that precede the new signature. */
  readonly content: ByteSource;
  /** Returns the digest of `content`. */
  readonly contentDigest: (hash: HashAlgorithm) => Promise<Buffer>;
  /** The verdict of a kernel that trusts the given certificates. */
  readonly verdict: ModuleVerdict;
}

/**
 * Reads a module file of any compression: a few random-access reads, then at most one pass over the bytes for
 * all digests. Returns null if it is not an ELF file, which no kernel loads.
 * @throws SignerError DAMAGED_MODULE, LIMIT_EXCEEDED, PROGRAM_FAILED
 */
export async function analyzeModule(
  source: ByteSource,
  certificates: readonly X509Certificate[],
  signal?: AbortSignal,
): Promise<ModuleAnalysis | null> {
  const compression = detectModuleCompression(await source.read(0, 6));
  const module = await unpackModule(source, compression, signal);
  const layout = await readModuleLayout(module);
  const content = sliceSource(module, 0, layout.contentSize);
  const info = await readModuleInfo(content);
  if (info === null) return null;
  const digests = new ContentDigests(module);
  const verdict = await verifyModule(module, certificates, digests);
  return {
    compression,
    info,
    layout,
    module,
    content,
    contentDigest: (hash) => digests.get(hash, layout.contentSize),
    verdict,
  };
}

/** Analyzes a file that was requested by name. @throws SignerError as analyzeModule; also NOT_A_MODULE */
export async function analyzeNamedModule(
  source: ByteSource,
  path: string,
  certificates: readonly X509Certificate[],
  signal?: AbortSignal,
): Promise<ModuleAnalysis> {
  const analysis = await analyzeModule(source, certificates, signal);
  if (analysis !== null && mayBeModule(analysis.info, path)) return analysis;
  throw new SignerError({
    code: 'NOT_A_MODULE',
    message: `${path} is not a kernel module`,
    hint: 'A kernel module is an ELF relocatable file with a .modinfo section.',
    facts: { path },
  });
}

/** Returns whether a file named exactly may be a module; a module's name does not make a program one. */
export function mayBeModule({ kind }: ModuleInfo, path: string): boolean {
  return kind === 'module' || (kind === 'object' && isModuleName(path));
}

/** Returns the warning for a file with a module's name that is not an ELF file. */
export function skippedWarning(path: string): string {
  return `${path} was skipped: it is not an ELF file, so no kernel loads it as a module`;
}

/** Returns the warning for an ELF file that is judged and signed as a module although it cannot be one. */
export function otherKindWarning(path: string): string {
  return `${path} has the name of a module, but is an ELF file that no kernel loads: it is not relocatable`;
}
