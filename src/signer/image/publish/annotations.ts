import { digestOf, type Digest } from '../../../registry/model/digest.ts';
import { parseReference } from '../../../registry/model/reference.ts';

/**
 * What we write on a signed manifest: annotations, or labels of the configuration where the manifest
 * has no annotations (docker schema 2). They inform and speed things up; they prove nothing.
 */
export const annotationKeys = {
  /** image-spec, annotations.md: the image that this one is based on, here the unsigned source. */
  baseName: 'org.opencontainers.image.base.name',
  baseDigest: 'org.opencontainers.image.base.digest',
  /** SHA-256 of the signing certificate's DER, hexadecimal. */
  certificate: 'io.kmm-sign.certificate.sha256',
  /** Digest algorithm of the signatures. */
  hash: 'io.kmm-sign.signature.hash',
  /** How many modules were signed. */
  modules: 'io.kmm-sign.modules.signed',
  /** Digest over the options that shape the result. */
  options: 'io.kmm-sign.options.digest',
} as const;

/** The facts that the annotations state. */
export interface SigningFacts {
  /** null where the source has no name that others could use (an OCI layout). */
  readonly baseName: string | null;
  readonly baseDigest: Digest;
  readonly certificateFingerprint: string;
  readonly hash: string;
  readonly optionsDigest: Digest;
}

/** The annotations for a manifest in which `modulesSigned` modules were signed. */
export function signingAnnotations(facts: SigningFacts, modulesSigned: number): Record<string, string> {
  return {
    ...(facts.baseName === null ? {} : { [annotationKeys.baseName]: facts.baseName }),
    [annotationKeys.baseDigest]: facts.baseDigest,
    [annotationKeys.certificate]: facts.certificateFingerprint,
    [annotationKeys.hash]: facts.hash,
    [annotationKeys.modules]: String(modulesSigned),
    [annotationKeys.options]: facts.optionsDigest,
  };
}

/** Tells whether annotations or labels say that an image was made from this source, with this certificate and these options. */
export function stateSameFacts(stated: Readonly<Record<string, string>>, facts: SigningFacts): boolean {
  return (
    stated[annotationKeys.baseDigest] === facts.baseDigest &&
    stated[annotationKeys.certificate] === facts.certificateFingerprint &&
    stated[annotationKeys.hash] === facts.hash &&
    stated[annotationKeys.options] === facts.optionsDigest
  );
}

/** Digest over the options, so that a change of one of them counts as another result. */
export function digestOptions(options: Readonly<Record<string, unknown>>): Digest {
  const sorted = Object.entries(options).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return digestOf(JSON.stringify(sorted));
}

/** The name that annotations or labels state; null when it is no reference. */
export function nameIn(stated: Readonly<Record<string, string>>): string | null {
  const name = stated[annotationKeys.baseName];
  if (name === undefined) return null;
  try {
    parseReference(name);
    return name;
  } catch {
    return null;
  }
}
