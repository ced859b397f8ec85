import { digestOf, type Digest } from '../../../registry/model/digest.ts';
import type { SigningRun } from '../plan/signing-run.ts';
import { parseReference } from '../../../registry/model/reference.ts';

/**
 * What is recorded on a signed manifest: annotations, or labels of the configuration if the manifest has no
 * annotations (docker schema 2). They inform and save work; they prove nothing.
 */
export const annotationKeys = {
  /** The image that this one is based on (image-spec, annotations.md): here, the unsigned source. */
  baseName: 'org.opencontainers.image.base.name',
  baseDigest: 'org.opencontainers.image.base.digest',
  /** SHA-256 of the signing certificate's DER, hexadecimal. */
  certificate: 'io.kmm-sign.certificate.sha256',
  /** Digest algorithm of the signatures. */
  hash: 'io.kmm-sign.signature.hash',
  /** Number of modules signed. */
  modules: 'io.kmm-sign.modules.signed',
  /** Digest of the options that affect the result. */
  options: 'io.kmm-sign.options.digest',
} as const;

/**
 * What annotations claim about how an image was signed, apart from its source's digest. The same for all
 * images of a run.
 */
export interface SigningClaims {
  /** null if the source has no name that others could use (an OCI layout). */
  readonly baseName: string | null;
  readonly certificateFingerprint: string;
  readonly hash: string;
  readonly optionsDigest: Digest;
}

/** Returns the claims of a run. */
export function claimsOf(run: SigningRun): SigningClaims {
  const { source, signer, hash, patterns, platforms, mode, identifierForm, existing } = run;
  const { repository, selector } = source;
  const name =
    'tag' in selector ? `${repository.name}:${selector.tag}` : `${repository.name}@${selector.digest}`;
  return {
    baseName: repository.kind === 'layout' ? null : name,
    certificateFingerprint: signer.fingerprint,
    hash,
    optionsDigest: digestOptions({
      files: patterns === null ? null : patterns.map(({ text }) => text).toSorted(),
      platforms: platforms ?? null,
      mode,
      identifierForm,
      existing,
    }),
  };
}

/** Returns the annotations of a manifest made from `baseDigest` with `modulesSigned` modules signed. */
export function signingAnnotations(
  claims: SigningClaims,
  baseDigest: Digest,
  modulesSigned: number,
): Record<string, string> {
  return {
    ...(claims.baseName === null ? {} : { [annotationKeys.baseName]: claims.baseName }),
    [annotationKeys.baseDigest]: baseDigest,
    [annotationKeys.certificate]: claims.certificateFingerprint,
    [annotationKeys.hash]: claims.hash,
    [annotationKeys.modules]: String(modulesSigned),
    [annotationKeys.options]: claims.optionsDigest,
  };
}

/**
 * Returns whether annotations or labels claim this source, certificate, digest algorithm and options,
 * whatever the source's name.
 */
export function claimsMatch(
  annotations: Readonly<Record<string, string>>,
  claims: SigningClaims,
  baseDigest: Digest,
): boolean {
  return (
    annotations[annotationKeys.baseDigest] === baseDigest &&
    annotations[annotationKeys.certificate] === claims.certificateFingerprint &&
    annotations[annotationKeys.hash] === claims.hash &&
    annotations[annotationKeys.options] === claims.optionsDigest
  );
}

/** Returns the source's name claimed by annotations or labels; null if it is not a reference. */
export function claimedName(annotations: Readonly<Record<string, string>>): string | null {
  const name = annotations[annotationKeys.baseName];
  if (name === undefined) return null;
  try {
    parseReference(name);
    return name;
  } catch {
    return null;
  }
}

/** Returns a digest of the options, so that changing any of them makes it a different result. */
function digestOptions(options: Readonly<Record<string, unknown>>): Digest {
  const sorted = Object.entries(options).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return digestOf(JSON.stringify(sorted));
}
