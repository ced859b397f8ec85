import type { X509Certificate } from 'node:crypto';
import { type ByteSource, sliceSource } from '../../shared/byte-source.ts';
import { SignerError } from '../model/errors.ts';
import type { HashAlgorithm } from '../model/hash.ts';
import type { ModuleCompression, ModuleInfo, ModuleLayout } from '../model/module.ts';
import { detectModuleCompression, isModuleName, unpackModule } from './compression.ts';
import { ContentDigests } from './content-digest.ts';
import { readModuleInfo } from './module-info.ts';
import { readModuleLayout } from './trailer.ts';
import { type ModuleVerdict, verifyModule } from './verify-module.ts';

export interface AnalyzeOptions {
  /** The digest algorithm that the module will be signed with. */
  readonly hash: HashAlgorithm;
  /** Bytes that a compressed module may unpack to. @default 1 GiB */
  readonly maxBytes?: number | undefined;
  /** Certificates that count as trusted. @default none */
  readonly certificates?: readonly X509Certificate[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Everything that signing needs to know about a module file. */
export interface ModuleAnalysis {
  readonly compression: ModuleCompression;
  readonly info: ModuleInfo;
  readonly layout: ModuleLayout;
  /** The file's bytes, unpacked, with the signatures that it has. */
  readonly module: ByteSource;
  /** The same without signatures: what is signed, and precedes the new signature. */
  readonly content: ByteSource;
  /** Digest of `content`, by the algorithm that was asked for. */
  readonly contentDigest: () => Promise<Buffer>;
  /** The verdict of a kernel that trusts the given certificates. */
  readonly verdict: ModuleVerdict;
}

/**
 * Reads a module file of any compression: a few reads at random, then at most one pass over the bytes for
 * all digests. Null when it is not an ELF file, which no kernel loads.
 * @throws SignerError DAMAGED_MODULE, LIMIT_EXCEEDED, PROGRAM_FAILED
 */
export async function analyzeModule(
  source: ByteSource,
  options: AnalyzeOptions,
): Promise<ModuleAnalysis | null> {
  const compression = detectModuleCompression(await source.read(0, 6));
  const module = await unpackModule(source, {
    compression,
    maxBytes: options.maxBytes,
    signal: options.signal,
  });
  const layout = await readModuleLayout(module);
  const content = sliceSource(module, 0, layout.contentSize);
  const info = await readModuleInfo(content);
  if (info === null) return null;
  const digests = new ContentDigests(module);
  const own = { hash: options.hash, size: layout.contentSize };
  const verdict = await verifyModule(module, options.certificates ?? [], { digests });
  return {
    compression,
    info,
    layout,
    module,
    content,
    contentDigest: () => digests.get(own.hash, own.size),
    verdict,
  };
}

/** The same for a file that was asked for by name. @throws SignerError NOT_A_MODULE besides */
export async function analyzeNamedModule(
  source: ByteSource,
  path: string,
  options: AnalyzeOptions,
): Promise<ModuleAnalysis> {
  const analysis = await analyzeModule(source, options);
  if (analysis !== null && isMeant(analysis.info, path)) return analysis;
  throw new SignerError({
    code: 'NOT_A_MODULE',
    message: `${path} is not a kernel module`,
    hint: 'A kernel module is an ELF relocatable file with a .modinfo section.',
    facts: { path },
  });
}

/** Tells whether a file that was named exactly may be meant as a module: a module's name does not make a program one. */
export function isMeant({ kind }: ModuleInfo, path: string): boolean {
  return kind === 'module' || (kind === 'object' && isModuleName(path));
}

/** Returns the warning for a file that has the name of a module and is not one. */
export function passedOverWarning(path: string): string {
  return `${path} was passed over: it is not an ELF file, so no kernel loads it as a module`;
}

/** Returns the warning for an ELF file that is judged and signed like a module, though it cannot be one. */
export function otherKindWarning(path: string): string {
  return `${path} has the name of a module, but is an ELF file that no kernel loads: it is not relocatable`;
}
