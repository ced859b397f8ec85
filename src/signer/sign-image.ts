import type { ImageRepository, Selector } from '../registry/image/repository.ts';
import type { Platform } from '../registry/platform.ts';
import type { HashAlgorithm } from './hash.ts';
import type { Signer, SignerIdentifierForm } from './keys/signer.ts';
import type { ExistingSignaturePolicy, ProgressListener, SignMode, SignReport } from './report.ts';

/** An image: a place and a name in it. */
export interface ImageLocation {
  readonly repository: ImageRepository;
  readonly selector: Selector;
}

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
  readonly signFile?: { readonly program: string; readonly key: string; readonly certificate: string } | undefined;
  /** Seconds since the epoch for what is created (history entry, appended directories). @default 0 */
  readonly sourceDateEpoch?: number | undefined;
  /** Where temporary files go. @default the system's directory for them */
  readonly temporaryDirectory?: string | undefined;
  readonly onProgress?: ProgressListener | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Publishes an image with its kernel modules signed. The destination tag moves last, after the result
 * was verified; whatever fails before leaves it as it was.
 * @throws RegistryError, SignerError
 */
export type SignImage = (options: SignImageOptions) => Promise<SignReport>;
