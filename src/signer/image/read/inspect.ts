import type { X509Certificate } from 'node:crypto';
import type { ImageManifest } from '../../../registry/model/manifest.ts';
import { formatPlatform } from '../../../registry/model/platform.ts';
import type { TarEntry } from '../../../registry/tar/entry.ts';
import { SignerError } from '../../model/errors.ts';
import { analyzeModule, mayBeModule, otherKindWarning, skippedWarning } from '../../kmod/analyze-module.ts';
import type { ModuleState } from '../../model/module.ts';
import type { InspectedPlatformReport, ModuleReport } from '../../model/report.ts';
import type { FileVisitor, FoundFile } from './captures.ts';
import { scanImage, type ScanResult } from './scan.ts';
import { Spool } from './spool.ts';
import type { PlatformImage, ReadingRun } from './platform-images.ts';

/** The part of a module's report that depends only on its bytes. */
export type InspectedModule = Omit<ModuleReport, 'path' | 'otherNames' | 'views' | 'layer'>;

/** A reading of images that yields verdicts. */
export interface InspectRun extends ReadingRun {
  /** Trusted certificates. */
  readonly certificates: readonly X509Certificate[];
}

/** One platform's image with a verdict on each module. */
export interface InspectedImage extends Omit<InspectedPlatformReport, 'shadowed'> {
  readonly scan: ScanResult<InspectedModule>;
  readonly warnings: readonly string[];
}

/** Reads an image and verifies every requested module. @throws RegistryError, SignerError */
export async function inspectPlatform(image: PlatformImage, run: InspectRun): Promise<InspectedImage> {
  const { manifest, platform } = image;
  const name = platform === undefined ? null : formatPlatform(platform);
  run.onProgress?.({ type: 'platform', platform: name, digest: manifest.raw.digest });
  await using spool = new Spool(run.temporaryDirectory);
  const visitor: FileVisitor<InspectedModule> = {
    headerDetail: 'header-blocks',
    visit: (entry) => inspectEntry(entry, spool, run.certificates),
  };
  const scan = await scanImage(image, visitor, run);
  const reported = scan.files.filter(isReported);
  const modules = reported.map((found) => report(found, manifest));
  return {
    platform: name,
    digest: manifest.raw.digest,
    modules,
    warnings: [...warningsOf(scan.files, reported), ...kernelWarnings(modules)],
    layersNotRead: scan.layersNotRead.map(({ digest }) => digest),
    scan,
  };
}

const withoutModinfo = 'it has no .modinfo section, but kernels load such objects anyway';

/**
 * Codes of errors about the module; others are about this machine, such as a full disk or a missing program.
 */
const moduleErrorCodes: ReadonlySet<string> = new Set(['DAMAGED_MODULE', 'LIMIT_EXCEEDED']);

async function inspectEntry(
  entry: TarEntry,
  spool: Spool,
  certificates: readonly X509Certificate[],
): Promise<InspectedModule> {
  const { size } = entry;
  try {
    const analysis = await analyzeModule(await spool.load(entry), certificates);
    if (analysis === null) return withoutInfo(size, 'unsigned', null);
    const { compression, info, layout, verdict } = analysis;
    const { state, signature, certificateFingerprint, problem } = verdict;
    return {
      size,
      compression,
      info,
      state,
      signature,
      signatures: layout.signatures,
      certificateFingerprint,
      problem: problem !== null && info.kind === 'object' ? `${problem}; ${withoutModinfo}` : problem,
    };
  } catch (error) {
    if (!(error instanceof SignerError) || !moduleErrorCodes.has(error.code)) throw error;
    return withoutInfo(size, 'damaged', error.message);
  }
}

function withoutInfo(size: number, state: ModuleState, problem: string | null): InspectedModule {
  return {
    size,
    compression: 'none',
    info: null,
    state,
    signature: null,
    signatures: 0,
    certificateFingerprint: null,
    problem,
  };
}

/**
 * Returns whether a file is reported; a file that is not ELF is skipped unless it was named exactly.
 * @throws SignerError NOT_A_MODULE
 */
function isReported({ path, explicit, captured }: FoundFile<InspectedModule>): boolean {
  const { info, state } = captured;
  if (info === null ? state === 'damaged' : !explicit || mayBeModule(info, path)) return true;
  if (!explicit) return false;
  throw new SignerError({
    code: 'NOT_A_MODULE',
    message: `${path} is not a kernel module`,
    facts: { path },
  });
}

function report(
  { file, path, layer, captured }: FoundFile<InspectedModule>,
  manifest: ImageManifest,
): ModuleReport {
  const digest = manifest.layers[layer]?.digest;
  if (digest === undefined) throw new RangeError(`no layer ${layer}`);
  const otherNames = file.names.filter((name) => name !== path);
  return { path, otherNames, views: file.differs ?? null, layer: digest, ...captured };
}

function warningsOf(
  files: readonly FoundFile<InspectedModule>[],
  reported: readonly FoundFile<InspectedModule>[],
): string[] {
  const known = new Set(reported);
  return files.flatMap((found) => {
    if (!known.has(found)) return [skippedWarning(found.path)];
    return found.captured.info?.kind === 'other' ? [otherKindWarning(found.path)] : [];
  });
}

/** Returns warnings about modules that only some kernels load. */
function kernelWarnings(modules: readonly ModuleReport[]): string[] {
  const elliptic = modules.filter(
    ({ state, signature }) => state === 'trusted' && signature?.keyAlgorithm === 'ecdsa',
  );
  const [first] = elliptic;
  if (first === undefined) return [];
  const others = elliptic.length > 1 ? ` and ${elliptic.length - 1} more` : '';
  return [
    `${first.path}${others}: signed with ECDSA, which only kernels since 5.14 built with CONFIG_CRYPTO_ECDSA load (not those of Debian 12 and RHEL 8)`,
  ];
}
