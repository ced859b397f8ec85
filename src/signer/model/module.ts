/** The compression of a module file on disk, detected from its magic bytes. */
export type ModuleCompression = 'none' | 'gzip' | 'xz' | 'zstd';

/** How a kernel treats an ELF file. */
export type ModuleKind =
  /** A relocatable file with a .modinfo section. */
  | 'module'
  /** A relocatable file without .modinfo: kernels still load it, if it is signed as required. */
  | 'object'
  /** Not relocatable: no kernel loads it. */
  | 'other';

/** The contents of a kernel module's .modinfo section, and facts from its ELF header. */
export interface ModuleInfo {
  readonly kind: ModuleKind;
  readonly name: string | null;
  readonly version: string | null;
  readonly vermagic: string | null;
  readonly srcversion: string | null;
  readonly depends: readonly string[];
  /** As reported by uname -m: x86_64, aarch64, s390x, ppc64le …, or `machine-<e_machine>`. */
  readonly architecture: string;
}

/** A signature appended to a module. */
export interface ModuleSignature {
  /** How the CMS identifies its signer. */
  readonly signer:
    | { readonly form: 'issuer-and-serial'; readonly issuer: string; readonly serialNumber: string }
    | { readonly form: 'key-identifier'; readonly keyIdentifier: string };
  /** A HashAlgorithm, or the object identifier of an unknown algorithm. */
  readonly hash: string;
  /** `rsa`, `ecdsa`, or the object identifier of another algorithm. */
  readonly keyAlgorithm: string;
}

/** Where the module ends and its signatures begin. */
export interface ModuleLayout {
  /** Bytes of the module without any signature: what a new signature covers. */
  readonly contentSize: number;
  /** Bytes from the start that the outermost (last) signature covers; the size of the file if unsigned. */
  readonly signedSize: number;
  /** Number of stacked signatures. */
  readonly signatures: number;
  /** Why there are more that cannot be removed; null if all were found. */
  readonly unremovable: string | null;
}

/** The verdict on one module. */
export type ModuleState =
  /** The last signature is valid, and by one of the given certificates. */
  | 'trusted'
  /** A well-formed signature by none of the given certificates, or no certificate was given. */
  | 'untrusted'
  /** The signature names one of the given certificates but does not match the bytes. */
  | 'invalid'
  | 'unsigned'
  /** A trailer or CMS that cannot be parsed, or an ELF file that is truncated. */
  | 'damaged';

/** Digest algorithms for module signatures. Which of them a kernel accepts depends on its configuration. */
export const hashAlgorithms = ['sha256', 'sha384', 'sha512', 'sha224', 'sha1'] as const;

export type HashAlgorithm = (typeof hashAlgorithms)[number];

/** Returns the algorithm with this name, ignoring case; undefined if there is none. */
export function parseHash(text: string): HashAlgorithm | undefined {
  return hashAlgorithms.find((hash) => hash === text.toLowerCase());
}
