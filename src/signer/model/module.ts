/** How a module file is compressed on disk, told by its magic bytes. */
export type ModuleCompression = 'none' | 'gzip' | 'xz' | 'zstd';

/** What an ELF file is to a kernel. */
export type ModuleKind =
  /** A relocatable file with a .modinfo section. */
  | 'module'
  /** One without: kernels load it all the same, if it is signed as it must be. */
  | 'object'
  /** Not relocatable: no kernel loads it. */
  | 'other';

/** What a kernel module says of itself (its .modinfo section) and what was read from its ELF header. */
export interface ModuleInfo {
  readonly kind: ModuleKind;
  readonly name: string | null;
  readonly version: string | null;
  readonly vermagic: string | null;
  readonly srcversion: string | null;
  readonly depends: readonly string[];
  /** As uname -m names it: x86_64, aarch64, s390x, ppc64le …, or `machine-<e_machine>`. */
  readonly architecture: string;
}

/** A signature that is appended to a module. */
export interface ModuleSignature {
  /** How the CMS names its signer. */
  readonly signer:
    | { readonly form: 'issuer-and-serial'; readonly issuer: string; readonly serialNumber: string }
    | { readonly form: 'key-identifier'; readonly keyIdentifier: string };
  /** As named in hash.ts, or the object identifier of one that we do not know. */
  readonly hash: string;
  /** `rsa`, `ecdsa`, or the object identifier of another. */
  readonly keyAlgorithm: string;
}

/** Where the module ends and its signatures begin. */
export interface ModuleLayout {
  /** Bytes of the module without any signature: what a signature covers. */
  readonly contentSize: number;
  /** Bytes from the start that the outermost (last) signature covers; the size of the file when unsigned. */
  readonly signedSize: number;
  /** How many signatures are stacked. */
  readonly signatures: number;
  /** Why there are more that cannot be removed; null when all were found. */
  readonly unremovable: string | null;
}

/** The verdict on one module. */
export type ModuleState =
  /** The last signature is right, and by one of the given certificates. */
  | 'trusted'
  /** A well-formed signature by none of the given certificates, or none was given. */
  | 'untrusted'
  /** The signature names one of the given certificates but does not fit the bytes. */
  | 'invalid'
  | 'unsigned'
  /** A trailer or CMS that cannot be parsed, or an ELF file that is cut short. */
  | 'damaged';
