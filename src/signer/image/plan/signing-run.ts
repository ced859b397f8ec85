import { ignoreRejection } from '../../../shared/abortable.ts';
import type { ImageRepository, Traffic } from '../../../registry/image/repository.ts';
import type { ContentsStore } from '../../../registry/layer/contents-memory.ts';
import type { Manifest } from '../../../registry/model/manifest.ts';
import type { Platform } from '../../../registry/model/platform.ts';
import type { Signer, SignerIdentifierForm } from '../../cms/signer.ts';
import type { SignFileProgram } from '../../keys/sign-file-program.ts';
import type { HashAlgorithm } from '../../model/module.ts';
import { parseFilePattern } from '../../model/patterns.ts';
import type { ExistingSignaturePolicy, ProgressListener, SignMode } from '../../model/report.ts';
import type { ImageLocation, ReadingRun } from '../read/platform-images.ts';
import { Spool } from '../read/spool.ts';

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
  /** Trust the annotations of a destination that claims to be this result. @default false */
  readonly trustAnnotations?: boolean | undefined;
  /** Download the pushed layers again and verify them. @default false */
  readonly readBack?: boolean | undefined;
  /** Compression level of written layers: gzip 1 to 9, zstd 1 to 19. @default 1 for gzip, 3 for zstd */
  readonly compressionLevel?: number | undefined;
  /** Sign with the kernel tree's program instead of our own code. Needs key and certificate as files. */
  readonly signFile?: SignFileProgram | undefined;
  /**
   * Timestamp of whatever is created (history entry, appended directories), in seconds since the epoch.
   * @default 0
   */
  readonly sourceDateEpoch?: number | undefined;
  /** Directory for temporary files. @default the system's directory for temporary files */
  readonly temporaryDirectory?: string | undefined;
  /** What layers contain, from earlier runs. @default every layer that counts is read */
  readonly layerContents?: ContentsStore | undefined;
  readonly onProgress?: ProgressListener | undefined;
  readonly signal?: AbortSignal | undefined;
}

function resolve({ files, ...options }: SignImageOptions) {
  const patterns: ReadingRun['patterns'] = files === undefined ? null : files.map(parseFilePattern);
  return {
    ...options,
    patterns,
    hash: options.hash ?? 'sha256',
    identifierForm: options.identifierForm ?? 'issuer-and-serial',
    allowUnmatched: options.allowUnmatched ?? false,
    mode: options.mode ?? 'rewrite',
    existing: options.existing ?? 'replace',
    dryRun: options.dryRun ?? false,
    trustAnnotations: options.trustAnnotations ?? false,
    readBack: options.readBack ?? false,
    sourceDateEpoch: options.sourceDateEpoch ?? 0,
  } as const;
}

/**
 * One signing of an image: its options with the defaults filled in, and the resources that live as long as
 * it. Frozen, and passed on whole. Disposing of it aborts whatever is still in progress.
 */
export interface SigningRun extends ReadingRun, Readonly<ReturnType<typeof resolve>>, AsyncDisposable {
  /** The manifest that the source resolved to when the run began. */
  readonly sourceManifest: Manifest;
  /** What the destination's tag names, requested beside the source; undefined without a tag. Rejects with RegistryError. */
  readonly taggedManifest: Promise<Manifest> | undefined;
  /** Holds the modules of all images. */
  readonly spool: Spool;
  /** Holds the resources that live as long as the run. */
  readonly disposables: AsyncDisposableStack;
  /** Aborted by the caller, or when the run ends. */
  readonly signal: AbortSignal;
  /** Returns the bytes transferred since the run began, for source and destination together. */
  traffic(): Traffic;
}

/** Resolves options and source name, and opens a run. @throws SignerError INVALID_PATTERN; RegistryError */
export async function openSigningRun(options: SignImageOptions): Promise<SigningRun> {
  const resolved = resolve(options);
  const { source, destination, temporaryDirectory, onProgress } = resolved;
  const end = new AbortController();
  const signal = options.signal === undefined ? end.signal : AbortSignal.any([options.signal, end.signal]);
  const traffic = meterTraffic(new Set([source.repository, destination.repository]));
  const { tag } = destination;
  const taggedManifest =
    tag === undefined ? undefined : destination.repository.getManifest({ tag }, { signal });
  if (taggedManifest !== undefined) ignoreRejection(taggedManifest);
  const sourceManifest = await source.repository
    .getManifest(source.selector, { signal })
    .catch((error: unknown) => {
      end.abort();
      throw error;
    });
  onProgress?.({ type: 'resolved', image: source.repository.name, digest: sourceManifest.raw.digest });
  const disposables = new AsyncDisposableStack();
  return Object.freeze({
    ...resolved,
    sourceManifest,
    taggedManifest,
    spool: disposables.use(new Spool(temporaryDirectory)),
    disposables,
    signal,
    traffic,
    async [Symbol.asyncDispose]() {
      end.abort();
      await disposables.disposeAsync();
    },
  });
}

/** Returns a function that counts the bytes from now on. */
function meterTraffic(repositories: ReadonlySet<ImageRepository>): () => Traffic {
  const meters = [...repositories].map((repository) => ({ repository, before: repository.traffic }));
  const sum = (field: keyof Traffic) =>
    meters.reduce((total, { repository, before }) => total + repository.traffic[field] - before[field], 0);
  return () => ({ bytesDown: sum('bytesDown'), bytesUp: sum('bytesUp') });
}
