import type { ImageRepository } from '../../../registry/image/repository.ts';
import type { Platform } from '../../../registry/model/platform.ts';
import type { HashAlgorithm } from '../../model/hash.ts';
import type { ImageLocation } from '../read/platform-images.ts';
import type { ExternalSignFile } from './module-signing.ts';
import type { Signer, SignerIdentifierForm } from '../../cms/signer.ts';
import { parseFilePattern, type FilePattern } from '../../model/patterns.ts';
import type { ExistingSignaturePolicy, ProgressListener, SignMode } from '../../model/report.ts';
export interface SignImageOptions {
  readonly source: ImageLocation;
  /** `tag` undefined: the result is stored by digest only. */
  readonly destination: { readonly repository: ImageRepository; readonly tag?: string | undefined };
  readonly signer: Signer;
  /** @default 'sha256' */
  readonly hash?: HashAlgorithm | undefined;
  /** @default 'issuer-and-serial' */
  readonly identifierForm?: SignerIdentifierForm | undefined;
  /** Absolute paths or globs. @default every kernel module */
  readonly files?: readonly string[] | undefined;
  /** @default false */
  readonly allowUnmatched?: boolean | undefined;
  /** @default 'rewrite' */
  readonly mode?: SignMode | undefined;
  /** @default 'replace' */
  readonly existing?: ExistingSignaturePolicy | undefined;
  /** @default every platform with modules */
  readonly platforms?: readonly Platform[] | undefined;
  /** Plan only, write nothing. @default false */
  readonly dryRun?: boolean | undefined;
  /** Believe the annotations of a destination that says it is this result. @default false */
  readonly trustAnnotations?: boolean | undefined;
  /** Download what was pushed once more and verify that. @default false */
  readonly readBack?: boolean | undefined;
  /** Compression level of written layers: gzip 1 to 9, zstd 1 to 19. @default 1 for gzip, 3 for zstd */
  readonly compressionLevel?: number | undefined;
  /** Sign with the kernel tree's program at this path instead of our own code. Needs key and certificate as files. */
  readonly signFile?: ExternalSignFile | undefined;
  /** Seconds since the epoch for what is created (history entry, appended directories). @default 0 */
  readonly sourceDateEpoch?: number | undefined;
  /** Where temporary files go. @default the system's directory for them */
  readonly temporaryDirectory?: string | undefined;
  readonly onProgress?: ProgressListener | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The options with every default filled in. */
export interface ResolvedSignOptions {
  readonly source: ImageLocation;
  readonly destination: SignImageOptions['destination'];
  readonly signer: Signer;
  readonly hash: HashAlgorithm;
  readonly identifierForm: SignerIdentifierForm;
  readonly patterns: readonly FilePattern[] | null;
  readonly allowUnmatched: boolean;
  readonly mode: SignMode;
  readonly existing: ExistingSignaturePolicy;
  readonly platforms: readonly Platform[] | undefined;
  readonly dryRun: boolean;
  readonly trustAnnotations: boolean;
  readonly readBack: boolean;
  readonly compressionLevel: number | undefined;
  readonly signFile: ExternalSignFile | undefined;
  readonly sourceDateEpoch: number;
  readonly temporaryDirectory: string | undefined;
  readonly onProgress: ProgressListener | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Fills in the defaults and parses the patterns. @throws SignerError INVALID_PATTERN */
export function resolveSignOptions(options: SignImageOptions): ResolvedSignOptions {
  const { files } = options;
  return {
    source: options.source,
    destination: options.destination,
    signer: options.signer,
    hash: options.hash ?? 'sha256',
    identifierForm: options.identifierForm ?? 'issuer-and-serial',
    patterns: files === undefined ? null : files.map(parseFilePattern),
    allowUnmatched: options.allowUnmatched ?? false,
    mode: options.mode ?? 'rewrite',
    existing: options.existing ?? 'replace',
    platforms: options.platforms,
    dryRun: options.dryRun ?? false,
    trustAnnotations: options.trustAnnotations ?? false,
    readBack: options.readBack ?? false,
    compressionLevel: options.compressionLevel,
    signFile: options.signFile,
    sourceDateEpoch: options.sourceDateEpoch ?? 0,
    temporaryDirectory: options.temporaryDirectory,
    onProgress: options.onProgress,
    signal: options.signal,
  };
}
