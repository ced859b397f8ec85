import type { Digest } from '../../registry/model/digest.ts';
import type { HashAlgorithm, ModuleCompression, ModuleInfo, ModuleSignature, ModuleState } from './module.ts';

/** What `sign` did, or would do, to a module. */
export type SignAction =
  /** It had no signature. */
  | 'signed'
  /** Earlier signatures were removed first. */
  | 'replaced'
  /** It already carries the wanted signature. */
  | 'unchanged'
  /** It carries another signature, which was to be kept. */
  | 'kept';

export interface SignedModuleReport {
  /** Absolute path in the image. */
  readonly path: string;
  /** Other names of the same file (hard links). */
  readonly otherNames: readonly string[];
  readonly info: ModuleInfo;
  readonly compression: ModuleCompression;
  readonly action: SignAction;
  /** Digest of the layer that contains it in the source. */
  readonly layer: Digest;
  /**
   * Extended attributes that were (or would be) removed because they hold a digest or signature of the old
   * content: `security.ima`, `security.evm`.
   */
  readonly removedAttributes: readonly string[];
  /** Size of the file in bytes, before and after. */
  readonly sizeBefore: number;
  readonly sizeAfter: number;
}

/** A layer that was, or would be, written. */
export interface ChangedLayerReport {
  /** Digest in the source; null for an appended layer. */
  readonly from: Digest | null;
  /** null in a dry run. */
  readonly to: Digest | null;
  /** Size of the compressed blob in bytes; in a dry run, an estimate (the current size). */
  readonly size: number;
}

export interface SignedPlatformReport {
  /** `linux/amd64`; null if the source does not state it. */
  readonly platform: string | null;
  readonly sourceDigest: Digest;
  /** null in a dry run. */
  readonly digest: Digest | null;
  readonly modules: readonly SignedModuleReport[];
  readonly layers: readonly ChangedLayerReport[];
  /** Layers whose contents had to be read, and the bytes of their blobs. */
  readonly layersRead: number;
  readonly layerBytesRead: number;
  /** Layers that were not read, since an earlier run had read them and they contain nothing that is wanted. */
  readonly layersKnown: readonly Digest[];
  /** Layers that could not affect the result; nothing but their digests is known. */
  readonly layersNotRead: readonly Digest[];
}

/** An artifact that refers to a manifest of the source by digest, and so does not apply to the result. */
export interface SourceAttachment {
  /** The digest that it refers to. */
  readonly subject: Digest;
  readonly digest: Digest;
  /** `signature`, `attestation` or `SBOM` under cosign's tags, or the type of the artifact. */
  readonly type: string;
  /** The tag under which it was found; null if the registry listed it. */
  readonly tag: string | null;
}

/** The result of signing an image. `kmm-sign sign` prints it as JSON, with a schemaVersion. */
export interface SignReport {
  /** `unchanged`: the destination already held this result. `planned`: a dry run. */
  readonly status: 'signed' | 'unchanged' | 'planned';
  readonly source: string;
  readonly sourceDigest: Digest;
  readonly destination: string;
  /** Digest of the manifest or index that the destination now names; null in a dry run. */
  readonly digest: Digest | null;
  readonly mode: SignMode;
  readonly hash: HashAlgorithm;
  /** SHA-256 of the signing certificate. */
  readonly certificateFingerprint: string;
  readonly platforms: readonly SignedPlatformReport[];
  /** Children of the index that were dropped, and why. */
  readonly droppedChildren: readonly { readonly digest: Digest; readonly reason: string }[];
  /** Signatures, attestations and similar artifacts that stay with the source. */
  readonly attachedToSource: readonly SourceAttachment[];
  readonly bytesDown: number;
  readonly bytesUp: number;
  readonly warnings: readonly string[];
}

export type SignMode = 'rewrite' | 'append';

/** What to do with a module that is already signed. */
export type ExistingSignaturePolicy = 'replace' | 'keep' | 'fail';

/** The names of a file in each view; none if it is not visible there. */
export interface ModuleViews {
  /** Layers in directories of their own, mounted with overlayfs (containerd, CRI-O). */
  readonly overlayfs: readonly string[];
  /** All layers extracted onto one directory (umoci, native snapshotters). */
  readonly extraction: readonly string[];
}

/** One module in the reports of `verify` and `inspect`. */
export interface ModuleReport {
  readonly path: string;
  readonly otherNames: readonly string[];
  /** Its names for each way of unpacking layers, if runtimes differ about them; null if all see the same. */
  readonly views: ModuleViews | null;
  readonly layer: Digest;
  /** Size of the file in bytes. */
  readonly size: number;
  readonly compression: ModuleCompression;
  readonly info: ModuleInfo | null;
  readonly state: ModuleState;
  /** The last signature, the only one that counts; null if no signature can be read. */
  readonly signature: ModuleSignature | null;
  /** Number of stacked signatures. */
  readonly signatures: number;
  /** Fingerprint of the given certificate that the signature chains to. */
  readonly certificateFingerprint: string | null;
  /** What is wrong, in one sentence. */
  readonly problem: string | null;
}

export interface InspectedPlatformReport {
  readonly platform: string | null;
  readonly digest: Digest;
  readonly modules: readonly ModuleReport[];
  /** An earlier child of the index is for the same platform, so runtimes take that one and never this. */
  readonly shadowed: boolean;
  /** Layers that could not affect the result; nothing is known of their contents. */
  readonly layersNotRead: readonly Digest[];
}

/** The JSON output of `verify` and `inspect`, apart from its schemaVersion. */
export interface InspectReport {
  readonly image: string;
  readonly digest: Digest;
  readonly platforms: readonly InspectedPlatformReport[];
  /** The worst state of all modules; null when there are none. */
  readonly worst: ModuleState | null;
  /** What was skipped, and which kernels may judge differently, as sentences. */
  readonly warnings: readonly string[];
  readonly bytesDown: number;
}

/** An event during a run, for progress lines and bars. */
export type ProgressEvent =
  | { readonly type: 'resolved'; readonly image: string; readonly digest: Digest }
  | { readonly type: 'platform'; readonly platform: string | null; readonly digest: Digest }
  /** `known`: it was not downloaded, since an earlier run had read it. */
  | {
      readonly type: 'layer-read';
      readonly digest: Digest;
      readonly known: boolean;
      readonly done: number;
      readonly total: number;
    }
  | { readonly type: 'module-found'; readonly path: string }
  | { readonly type: 'module-signed'; readonly path: string; readonly done: number; readonly total: number }
  | { readonly type: 'layer-written'; readonly digest: Digest; readonly size: number }
  | { readonly type: 'blob'; readonly digest: Digest; readonly outcome: string; readonly size: number }
  | { readonly type: 'verified'; readonly modules: number }
  | { readonly type: 'tagged'; readonly image: string; readonly digest: Digest };

export type ProgressListener = (event: ProgressEvent) => void;
