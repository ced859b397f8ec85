import type { X509Certificate } from 'node:crypto';
import { oid } from '../cms/algorithms.ts';
import { checkSignature, checkIssued, equalIdentifiers, isSelfSigned } from '../cms/check-signature.ts';
import type { ParsedCertificate } from '../cms/parse-certificate.ts';
import type { SignedData, SignerInfo } from '../cms/parse-signed-data.ts';
import { SignatureRefusal } from '../model/errors.ts';
import type { HashAlgorithm } from '../model/module.ts';
import type { Keyring, TrustedKey } from './keyring.ts';

/** Limit on the signature checks for one message. Messages from sign-file need one. */
const maxChecks = 500;

/** A kernel's verdict on a message. */
export type TrustResult =
  | { readonly trusted: true; readonly signer: SignerInfo; readonly anchor: X509Certificate }
  | {
      readonly trusted: false;
      readonly refusal: SignatureRefusal;
      /** Whose signature decided, and which trusted certificate it was checked against; null if none. */
      readonly signer: SignerInfo | null;
      readonly anchor: X509Certificate | null;
    };

/** Returns the digest of the signed bytes. */
export type DigestFunction = (hash: HashAlgorithm) => Promise<Buffer>;

/** A certificate embedded in the message, and what is known about it. */
interface EmbeddedCertificate {
  readonly certificate: ParsedCertificate;
  readonly isSelfSigned: boolean;
  issuer: EmbeddedCertificate | undefined;
  seen: boolean;
  anchor: X509Certificate | undefined;
}

/** Checks a parsed message with a kernel's keys, as pkcs7_verify followed by pkcs7_validate_trust does. */
export async function checkTrust(
  message: SignedData,
  keyring: Keyring,
  digest: DigestFunction,
): Promise<TrustResult> {
  return new TrustCheck(message, keyring, digest).run();
}

class TrustCheck {
  readonly #message: SignedData;
  readonly #keyring: Keyring;
  readonly #digest: DigestFunction;
  readonly #embedded: EmbeddedCertificate[] = [];
  readonly #owners = new Map<SignerInfo, EmbeddedCertificate>();
  #checks = 0;
  #signer: SignerInfo | null = null;
  #anchor: X509Certificate | null = null;

  constructor(message: SignedData, keyring: Keyring, digest: DigestFunction) {
    this.#message = message;
    this.#keyring = keyring;
    this.#digest = digest;
  }

  async run(): Promise<TrustResult> {
    try {
      await this.#readEmbedded();
      this.#checkForm();
      for (const signer of this.#message.signers) await this.#verify(signer);
      return await this.#validate();
    } catch (error) {
      if (!(error instanceof SignatureRefusal)) throw error;
      return { trusted: false, refusal: error, signer: this.#signer, anchor: this.#anchor };
    }
  }

  async #readEmbedded(): Promise<void> {
    const { features } = this.#keyring;
    for (const certificate of this.#message.certificates) {
      if (certificate.keyAlgorithm === 'ecdsa-nist-p521' && !features.ecdsa)
        throw new SignatureRefusal('ENOPKG', 'with a certificate on P-521, which kernels before 6.10 refuse');
      this.#count();
      this.#embedded.push({
        certificate,
        isSelfSigned: await isSelfSigned(certificate, features),
        issuer: undefined,
        seen: false,
        anchor: undefined,
      });
    }
  }

  #checkForm(): void {
    const { hasContent, contentType, signers } = this.#message;
    if (hasContent) throw new SignatureRefusal('EBADMSG', 'with embedded content');
    if (contentType !== oid.data)
      throw new SignatureRefusal('EKEYREJECTED', 'over content of another type than plain data');
    if (signers[0].hasSignedAttributes)
      throw new SignatureRefusal('EKEYREJECTED', 'with signed attributes, which modules must not have');
  }

  /** Checks that the message is consistent in itself; needs no trusted keys. */
  async #verify(signer: SignerInfo): Promise<void> {
    this.#signer = signer;
    const owner = this.#embedded.find(({ certificate }) => certificate.id.equals(signer.keyId));
    if (owner === undefined) return;
    const { notBefore, notAfter } = owner.certificate;
    const { signingTime } = signer;
    if (signingTime !== null && (signingTime < notBefore || signingTime > notAfter))
      throw new SignatureRefusal('EKEYREJECTED', 'made outside of the validity of its certificate');
    this.#owners.set(signer, owner);
    await this.#checkSigner(signer, owner.certificate);
    await this.#verifyChain(owner);
  }

  async #verifyChain(owner: EmbeddedCertificate): Promise<void> {
    for (const one of this.#embedded) one.seen = false;
    let current = owner;
    for (;;) {
      current.seen = true;
      if (current.isSelfSigned) {
        current.issuer = current;
        return;
      }
      const issuer = this.#findIssuer(current.certificate);
      if (issuer === undefined || issuer.seen) return;
      if (current.issuer !== issuer) {
        this.#count();
        await checkIssued(current.certificate, issuer.certificate, this.#keyring.features);
      }
      current.issuer = issuer;
      current = issuer;
    }
  }

  #findIssuer({ authorityId, authorityKeyIdentifier }: ParsedCertificate): EmbeddedCertificate | undefined {
    if (authorityId === null) {
      return this.#embedded.find(({ certificate }) =>
        equalIdentifiers(certificate.subjectKeyIdentifier, authorityKeyIdentifier),
      );
    }
    const found = this.#embedded.find(({ certificate }) => certificate.id.equals(authorityId));
    if (
      found !== undefined &&
      authorityKeyIdentifier !== null &&
      !equalIdentifiers(found.certificate.subjectKeyIdentifier, authorityKeyIdentifier)
    )
      throw new SignatureRefusal('EKEYREJECTED', 'with certificates whose key identifiers do not match');
    return found;
  }

  /** Requires that one signer leads to a trusted key, and that no signer with a trusted key fails. */
  async #validate(): Promise<TrustResult> {
    for (const one of this.#embedded) one.seen = false;
    let result: TrustResult | undefined;
    for (const signer of this.#message.signers) {
      this.#signer = signer;
      this.#anchor = null;
      const anchor = await this.#findAnchor(signer);
      if (anchor !== undefined) result ??= { trusted: true, signer, anchor };
    }
    if (result !== undefined) return result;
    [this.#signer] = this.#message.signers;
    throw new SignatureRefusal('ENOKEY', 'by none of the trusted keys');
  }

  async #findAnchor(signer: SignerInfo): Promise<X509Certificate | undefined> {
    const passed: EmbeddedCertificate[] = [];
    for (let one = this.#owners.get(signer); one !== undefined; one = one.issuer) {
      if (one.seen) {
        return one.anchor === undefined ? undefined : markAnchor(passed, one.anchor);
      }
      one.seen = true;
      const keys = findOrSkip(this.#keyring, one.certificate);
      if (keys.length > 0)
        return markAnchor([...passed, one], await this.#checkDescendant(signer, passed, keys));
      if (one.issuer === one) return undefined;
      passed.push(one);
    }
    const last = passed.at(-1);
    if (last !== undefined) {
      const { authorityId, authorityKeyIdentifier } = last.certificate;
      const keys = this.#keyring.find(authorityId, authorityKeyIdentifier);
      if (keys.length > 0) return markAnchor(passed, await this.#checkDescendant(signer, passed, keys));
    }
    const keys = this.#keyring.find(signer.keyId, null);
    return keys.length > 0 ? this.#checkDescendant(signer, [], keys) : undefined;
  }

  /** Checks what a trusted key must have signed: the last certificate of the chain, or the message itself. */
  async #checkDescendant(
    signer: SignerInfo,
    chain: readonly EmbeddedCertificate[],
    keys: readonly TrustedKey[],
  ): Promise<X509Certificate> {
    const descendant = chain.at(-1);
    for (const { certificate, parsed } of keys) {
      this.#anchor = certificate;
      try {
        if (descendant === undefined) await this.#checkSigner(signer, parsed);
        else {
          this.#count();
          await checkIssued(descendant.certificate, parsed, this.#keyring.features);
        }
      } catch (error) {
        if (error instanceof SignatureRefusal) throw new SignatureRefusal('EKEYREJECTED', error.message);
        throw error;
      }
    }
    const [first] = keys;
    if (first === undefined) throw new RangeError('no key');
    return first.certificate;
  }

  async #checkSigner(signer: SignerInfo, key: ParsedCertificate): Promise<void> {
    this.#count();
    const digest = await this.#digest(signer.hash);
    await checkSignature(key, { ...signer, digest }, this.#keyring.features);
  }

  #count(): void {
    this.#checks += 1;
    if (this.#checks > maxChecks)
      throw new SignatureRefusal('EBADMSG', `that requires more than ${maxChecks} checks`);
  }
}

/**
 * Finds keys by a certificate's identifiers. Like the kernel, skips a certificate whose key identifier
 * differs from that of the key found by name.
 */
function findOrSkip(keyring: Keyring, { id, subjectKeyIdentifier }: ParsedCertificate) {
  try {
    return keyring.find(id, subjectKeyIdentifier);
  } catch (error) {
    if (error instanceof SignatureRefusal) return [];
    throw error;
  }
}

function markAnchor(chain: readonly EmbeddedCertificate[], anchor: X509Certificate): X509Certificate {
  for (const one of chain) one.anchor = anchor;
  return anchor;
}
