import type { TarEntry } from '../../../registry/tar/entry.ts';
import { SignerError } from '../../model/errors.ts';
import type { SignAction } from '../../model/report.ts';
import { changesModule, decideSignAction } from '../../kmod/sign-module.ts';
import type { FoundFile } from '../read/captures.ts';
import { analyzeModule, mayBeModule, otherKindWarning, skippedWarning } from '../../kmod/analyze-module.ts';
import type { ByteSource } from '../../../shared/byte-source.ts';
import type { ModuleCompression, ModuleInfo, ModuleLayout } from '../../model/module.ts';
import type { ModuleVerdict } from '../../kmod/verify-module.ts';
import type { EarlySignature, EarlySignatures } from './early-signatures.ts';
import type { SigningRun } from './signing-run.ts';

/** A file captured for signing: what it is, and where its unpacked bytes are. */
export interface PreparedModule {
  /** Size in bytes of the file in the image, as stored there (possibly compressed). */
  readonly size: number;
  readonly compression: ModuleCompression;
  readonly info: ModuleInfo;
  readonly layout: ModuleLayout;
  /** The verdict on its current signature if our certificate is trusted. */
  readonly verdict: ModuleVerdict;
  /** The unpacked module, including any signatures, in the spool. */
  readonly unpacked: ByteSource;
  /** undefined: the module stays unchanged, or will be signed later. */
  readonly early: EarlySignature | undefined;
}

/**
 * The captured module, or the error explaining why a file is not one; thrown only if the file was requested.
 */
export type Prepared = { readonly module: PreparedModule } | { readonly error: unknown };

/**
 * Captures a file that may have to be signed. @param signatures starts signing at once; undefined: nothing
 * will be signed
 */
export async function prepareModule(
  entry: TarEntry,
  { spool, signer, signal }: SigningRun,
  signatures: EarlySignatures | undefined,
): Promise<Prepared> {
  const content = await spool.load(entry);
  try {
    const analysis = await analyzeModule(content, [signer.certificate], signal);
    if (analysis === null) return { error: notAModule(entry.path) };
    const { compression, info, layout, verdict } = analysis;
    const early = await signatures?.start(analysis);
    const unpacked = await spool.ensureStored(analysis.module);
    return { module: { size: entry.size, compression, info, layout, verdict, unpacked, early } };
  } catch (error) {
    // A full disk says nothing about the module.
    if (error instanceof SignerError && error.code === 'FILE_ERROR') throw error;
    return { error };
  }
}

/** A module of the image and what will be done with it. */
export interface PlannedModule {
  readonly found: FoundFile<Prepared>;
  readonly module: PreparedModule;
  readonly action: SignAction;
}

/**
 * Decides what to do with each requested file. Files that were merely found and are not modules are left out.
 * @throws SignerError NOT_A_MODULE, DAMAGED_MODULE, ALREADY_SIGNED
 */
export function planModules(files: readonly FoundFile<Prepared>[], run: SigningRun): PlannedModule[] {
  const planned: PlannedModule[] = [];
  for (const found of files) {
    if (!found.explicit && isSkipped(found.captured)) continue;
    const module = requireModule(found.captured, found.path, found.explicit);
    const action = decideSignAction(module, run, run.existing, found.path);
    planned.push({ found, module, action });
  }
  return planned;
}

/** Returns warnings about the files that were found. */
export function moduleWarnings(
  files: readonly FoundFile<Prepared>[],
  modules: readonly PlannedModule[],
): string[] {
  const planned = new Set(modules.map(({ found }) => found));
  return files.flatMap((found) => {
    if (!planned.has(found)) return [skippedWarning(found.path)];
    const prepared = found.captured;
    const isOther = 'module' in prepared && prepared.module.info.kind === 'other';
    return isOther ? [otherKindWarning(found.path)] : [];
  });
}

/** Returns whether a planned module gets new bytes. */
export function changes({ action }: PlannedModule): boolean {
  return changesModule(action);
}

/** Returns whether a file not requested by name may be skipped: no kernel loads a file that is not ELF. */
function isSkipped(prepared: Prepared): boolean {
  return (
    'error' in prepared && prepared.error instanceof SignerError && prepared.error.code === 'NOT_A_MODULE'
  );
}

/** Returns the module, or throws its error with the requested path. @throws SignerError */
function requireModule(prepared: Prepared, path: string, explicit: boolean): PreparedModule {
  if ('module' in prepared && (!explicit || mayBeModule(prepared.module.info, path))) return prepared.module;
  const error = 'error' in prepared ? prepared.error : notAModule(path);
  if (!(error instanceof SignerError)) throw error;
  throw new SignerError({
    code: error.code,
    message: error.code === 'NOT_A_MODULE' ? `${path} is not a kernel module` : `${path}: ${error.message}`,
    hint: error.hint,
    facts: { ...error.facts, path },
  });
}

function notAModule(path: string): SignerError {
  return new SignerError({
    code: 'NOT_A_MODULE',
    message: `/${path} is not a kernel module`,
    hint: 'A kernel module is a relocatable ELF file with a .modinfo section, possibly compressed.',
  });
}
