import type { X509Certificate } from 'node:crypto';
import { certificateFields } from '../cms/certificates.ts';
import { type KernelFeatures, equalIdentifiers, isSelfSigned } from '../cms/check-signature.ts';
import { readDer } from '../cms/der.ts';
import { type ParsedCertificate, parseCertificate } from '../cms/parse-certificate.ts';
import { SignatureRefusal } from '../model/errors.ts';

/** A certificate that a kernel trusts. */
export interface TrustedKey {
  readonly certificate: X509Certificate;
  readonly parsed: ParsedCertificate;
}

/** A certificate that a kernel would not load, and why. */
export interface UnloadableCertificate {
  readonly certificate: X509Certificate;
  readonly refusal: SignatureRefusal;
}

/** Certificates that have been loaded, by certificate and by whether the kernel has ECDSA. */
const loaded = new WeakMap<X509Certificate, Map<boolean, Promise<TrustedKey | SignatureRefusal>>>();

/** The keys that a kernel makes from the certificates it is given. */
export class Keyring {
  readonly #keys: readonly TrustedKey[];
  readonly #refused: readonly UnloadableCertificate[];
  /** Features of the kernel that loaded the certificates. */
  readonly features: KernelFeatures;

  private constructor(
    keys: readonly TrustedKey[],
    refused: readonly UnloadableCertificate[],
    features: KernelFeatures,
  ) {
    this.#keys = keys;
    this.#refused = refused;
    this.features = features;
  }

  static async load(certificates: readonly X509Certificate[], features: KernelFeatures): Promise<Keyring> {
    const keys: TrustedKey[] = [];
    const refused: UnloadableCertificate[] = [];
    for (const certificate of certificates) {
      const key = await loadOnce(certificate, features);
      if (key instanceof SignatureRefusal) refused.push({ certificate, refusal: key });
      else keys.push(key);
    }
    return new Keyring(keys, refused, features);
  }

  /** Whether the keyring is empty. */
  get isEmpty(): boolean {
    return this.#keys.length + this.#refused.length === 0;
  }

  /** Whether the kernel would load all certificates, and all have RSA keys. */
  get hasOnlyRsa(): boolean {
    return this.#refused.length === 0 && this.#keys.every(({ parsed }) => hasRsaKey(parsed));
  }

  /** Finds a signer's certificate among those that the kernel would not load. */
  findUnloadable(keyId: Buffer): UnloadableCertificate | undefined {
    return this.#refused.find(({ certificate }) => {
      const { issuer, serialNumber, subjectKeyIdentifier } = certificateFields(certificate);
      const id = Buffer.concat([readDer(serialNumber).content, readDer(issuer).content]);
      return id.equals(keyId) || equalIdentifiers(subjectKeyIdentifier, keyId);
    });
  }

  /**
   * Finds keys by one identifier, or by two that must both match (find_asymmetric_key). The kernel may pick
   * any of them, so callers must verify with all of them. @throws SignatureRefusal if a key matches only the
   * first
   */
  find(id: Buffer | null, keyIdentifier: Buffer | null): readonly TrustedKey[] {
    const sought = id ?? keyIdentifier;
    if (sought === null) return [];
    if (sought.length === 0) throw new SignatureRefusal('EINVAL', 'by a signer without a name');
    const found = this.#keys.filter(
      ({ parsed }) => parsed.id.equals(sought) || equalIdentifiers(parsed.subjectKeyIdentifier, sought),
    );
    const matchesBoth = ({ parsed }: TrustedKey) =>
      equalIdentifiers(parsed.subjectKeyIdentifier, keyIdentifier);
    if (id !== null && keyIdentifier !== null && !found.every(matchesBoth))
      throw new SignatureRefusal(
        'EKEYREJECTED',
        'of a certificate whose key identifier is not that of the trusted one',
      );
    return found;
  }
}

/** Tells whether a certificate is for an RSA key. */
export function hasRsaKey({ keyAlgorithm }: Pick<ParsedCertificate, 'keyAlgorithm'>): boolean {
  return keyAlgorithm === 'rsa';
}

async function loadOnce(
  certificate: X509Certificate,
  features: KernelFeatures,
): Promise<TrustedKey | SignatureRefusal> {
  const known = loaded.get(certificate) ?? new Map<boolean, Promise<TrustedKey | SignatureRefusal>>();
  loaded.set(certificate, known);
  const key = known.get(features.ecdsa) ?? load(certificate, features);
  known.set(features.ecdsa, key);
  return key;
}

async function load(
  certificate: X509Certificate,
  features: KernelFeatures,
): Promise<TrustedKey | SignatureRefusal> {
  try {
    const parsed = parseCertificate(certificate.raw);
    await isSelfSigned(parsed, features);
    return { certificate, parsed };
  } catch (error) {
    if (error instanceof SignatureRefusal) return error;
    throw error;
  }
}
