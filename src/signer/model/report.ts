import type { Digest } from '../../registry/model/digest.ts';
import type { HashAlgorithm } from './hash.ts';
import type { ModuleCompression, ModuleInfo, ModuleSignature, ModuleState } from './module.ts';

/** What `sign` did, or would do, to one module. */
export type SignAction =
  /** Had no signature. */
  | 'signed'
  /** Earlier signatures were removed first. */
  | 'replaced'
  /** Carries the wanted signature already. */
  | 'unchanged'
  /** Carries another signature, and was told to keep it. */
  | 'kept';

export interface SignedModuleReport {
  /** Absolute path in the image. */
  readonly path: string;
  /** Other names of the same file (hard links). */
  readonly otherNames: readonly string[];
  readonly info: ModuleInfo;
  readonly compression: ModuleCompression;
  readonly action: SignAction;
  /** Digest of the layer that holds it in the source. */
  readonly layer: Digest;
  /**
   * Extended attributes that were (or would be) removed, since they hold a digest or signature of the old content:
   * `security.ima`, `security.evm`.
   */
  readonly removedAttributes: readonly string[];
  /** Bytes of the file before and after. */
  readonly sizeBefore: number;
  readonly sizeAfter: number;
}

/** A layer that was, or would be, written. */
export interface ChangedLayerReport {
  /** Digest in the source; null for an appended layer. */
  readonly from: Digest | null;
  /** null in a dry run. */
  readonly to: Digest | null;
  /** Bytes of the compressed blob; in a dry run an estimate (the present size). */
  readonly size: number;
}

export interface SignedPlatformReport {
  /** `linux/amd64`; null when the source does not say. */
  readonly platform: string | null;
  readonly sourceDigest: Digest;
  /** null in a dry run. */
  readonly digest: Digest | null;
  readonly modules: readonly SignedModuleReport[];
  readonly layers: readonly ChangedLayerReport[];
  /** Layers whose contents had to be read, and the bytes of their blobs. */
  readonly layersRead: number;
  readonly layerBytesRead: number;
  /** Layers that could not change the answer; nothing is known of them but their digests. */
  readonly layersNotRead: readonly Digest[];
}

/** Something that speaks of a manifest of the source by its digest, and so not of the result. */
export interface SourceAttachment {
  /** What it speaks of. */
  readonly subject: Digest;
  readonly digest: Digest;
  /** `signature`, `attestation` or `SBOM` under cosign's tags, or the type of the artifact. */
  readonly type: string;
  /** The tag that it was found under; null when the registry listed it. */
  readonly tag: string | null;
}

/** What signing an image did. The JSON output of `kmm-sign sign` is this, with a schemaVersion. */
export interface SignReport {
  /** `unchanged`: the destination held this result already. `planned`: a dry run. */
  readonly status: 'signed' | 'unchanged' | 'planned';
  readonly source: string;
  readonly sourceDigest: Digest;
  readonly destination: string;
  /** Digest of the manifest or index that the destination names now; null in a dry run. */
  readonly digest: Digest | null;
  readonly mode: SignMode;
  readonly hash: HashAlgorithm;
  /** SHA-256 of the signing certificate. */
  readonly certificateFingerprint: string;
  readonly platforms: readonly SignedPlatformReport[];
  /** Children of the index that were left out, and why. */
  readonly droppedChildren: readonly { readonly digest: Digest; readonly reason: string }[];
  /** Signatures, attestations and the like that stay with the source. */
  readonly attachedToSource: readonly SourceAttachment[];
  readonly bytesDown: number;
  readonly bytesUp: number;
  readonly warnings: readonly string[];
}

export type SignMode = 'rewrite' | 'append';

/** What to do with a module that carries a signature already. */
export type ExistingSignaturePolicy = 'replace' | 'keep' | 'fail';

/** Names of a file, none where it is not seen. */
export interface ModuleViews {
  /** Where each layer has a directory of its own, and overlayfs mounts them (containerd, CRI-O). */
  readonly overlayfs: readonly string[];
  /** Where all layers are extracted onto one directory (umoci, native snapshotters). */
  readonly extraction: readonly string[];
}

/** One module as `verify` and `inspect` see it. */
export interface ModuleReport {
  readonly path: string;
  readonly otherNames: readonly string[];
  /** Its names for each way of unpacking layers, where runtimes do not agree about them; null where all see the same. */
  readonly views: ModuleViews | null;
  readonly layer: Digest;
  /** Bytes of the file. */
  readonly size: number;
  readonly compression: ModuleCompression;
  readonly info: ModuleInfo | null;
  readonly state: ModuleState;
  /** Of the last signature, the one that counts; null when there is none that can be read. */
  readonly signature: ModuleSignature | null;
  /** How many signatures are stacked. */
  readonly signatures: number;
  /** Fingerprint of the given certificate that the signature leads to. */
  readonly certificateFingerprint: string | null;
  /** What is wrong, one sentence. */
  readonly problem: string | null;
}

export interface InspectedPlatformReport {
  readonly platform: string | null;
  readonly digest: Digest;
  readonly modules: readonly ModuleReport[];
  /** An earlier child of the index is for the same platform, so that runtimes take that one and never this. */
  readonly shadowed: boolean;
  /** Layers that could not change the answer; nothing is known of them. */
  readonly layersNotRead: readonly Digest[];
}

/** What `verify` and `inspect` print as JSON, with a schemaVersion. */
export interface InspectReport {
  readonly image: string;
  readonly digest: Digest;
  readonly platforms: readonly InspectedPlatformReport[];
  /** The worst state of all modules; null when there are none. */
  readonly worst: ModuleState | null;
  /** What was passed over, and which kernels may say otherwise, in sentences. */
  readonly warnings: readonly string[];
  readonly bytesDown: number;
}

/** Something that happened on the way, for progress lines and bars. */
export type ProgressEvent =
  | { readonly type: 'resolved'; readonly image: string; readonly digest: Digest }
  | { readonly type: 'platform'; readonly platform: string | null; readonly digest: Digest }
  | { readonly type: 'layer-read'; readonly digest: Digest; readonly done: number; readonly total: number }
  | { readonly type: 'module-found'; readonly path: string }
  | { readonly type: 'module-signed'; readonly path: string; readonly done: number; readonly total: number }
  | { readonly type: 'layer-written'; readonly digest: Digest; readonly size: number }
  | { readonly type: 'blob'; readonly digest: Digest; readonly outcome: string; readonly size: number }
  | { readonly type: 'verified'; readonly modules: number }
  | { readonly type: 'tagged'; readonly image: string; readonly digest: Digest };

export type ProgressListener = (event: ProgressEvent) => void;
