import { type KeyObject, X509Certificate } from 'node:crypto';
import { certificateFields } from '../cms/certificate-fields.ts';
import { checkSignature, isHashAlgorithm } from '../cms/check-signature.ts';
import { DerError } from '../cms/der.ts';
import { formatDistinguishedName } from '../cms/distinguished-name.ts';
import { parseSignedData, type SignedData, type SignerInfo } from '../cms/parse-signed-data.ts';
import { SignerError } from '../errors.ts';
import { certificateFingerprint } from '../keys/certificates.ts';
import type { ByteSource } from './byte-source.ts';
import { ContentDigests } from './content-digest.ts';
import type { ModuleLayout, ModuleSignature, ModuleState } from './module.ts';
import { findTrusted } from './trust.ts';
import { readSignedLayout } from './trailer.ts';

/** What a kernel that trusts the given certificates would say of a module. */
export interface ModuleVerdict {
  readonly state: ModuleState;
  /** The last signature, by its signer that decided. */
  readonly signature: ModuleSignature | null;
  /** null when the trailer is damaged. */
  readonly layout: ModuleLayout | null;
  /** Fingerprint of the given certificate that the signature leads to. */
  readonly certificateFingerprint: string | null;
  /** What is wrong, one sentence. */
  readonly problem: string | null;
}

/**
 * Judges a module (unpacked) by its last signature, which covers all bytes before it. `digests` may hold
 * digests of the source's bytes that are known already, and takes those that are computed.
 */
export async function verifyModule(
  source: ByteSource,
  certificates: readonly X509Certificate[],
  { digests = new ContentDigests(source) }: { readonly digests?: ContentDigests } = {},
): Promise<ModuleVerdict> {
  let layout: ModuleLayout | null = null;
  try {
    const signed = await readSignedLayout(source);
    layout = signed.layout;
    if (signed.signature === null)
      return verdict(layout, 'unsigned', null, 'The module carries no signature');
    const cms = parseSignedData(signed.signature);
    return await judge({ layout, cms, certificates, digests });
  } catch (error) {
    if (error instanceof SignerError && error.code === 'DAMAGED_MODULE') {
      return verdict(layout, 'damaged', null, error.message);
    }
    if (error instanceof DerError) {
      return verdict(
        layout,
        'damaged',
        null,
        `The appended signature is not a well-formed CMS: ${error.message}`,
      );
    }
    throw error;
  }
}

interface Case {
  readonly layout: ModuleLayout;
  readonly cms: SignedData;
  readonly certificates: readonly X509Certificate[];
  readonly digests: ContentDigests;
}

/** One signer with a trusted key must fit, and none with a trusted key may fail. */
async function judge({ layout, cms, certificates, digests }: Case): Promise<ModuleVerdict> {
  const refused = refusedForm(cms);
  if (refused !== null) return verdict(layout, 'invalid', cms.signers[0], refused);
  const embedded = parseEmbedded(cms);
  let trusted: ModuleVerdict | undefined;
  for (const signer of cms.signers) {
    const found = findTrusted(signer.identifier, certificates, embedded);
    if (found === null) continue;
    const problem = await signatureProblem(signer, found.signer, layout, digests);
    const fingerprint = certificateFingerprint(found.anchor);
    if (problem !== null) return verdict(layout, 'invalid', signer, problem, fingerprint);
    trusted ??= verdict(layout, 'trusted', signer, null, fingerprint);
  }
  return (
    trusted ?? verdict(layout, 'untrusted', cms.signers[0], untrustedProblem(cms.signers[0], certificates))
  );
}

/** Forms that CMS knows and the kernel refuses whoever signed (crypto/asymmetric_keys/pkcs7_verify.c). */
function refusedForm({ hasContent, signers }: SignedData): string | null {
  if (hasContent) return 'The signature carries its content inside, which kernels refuse';
  if (signers.some((signer) => signer.hasSignedAttributes)) {
    return 'The signature has signed attributes, which kernels refuse for modules';
  }
  return null;
}

async function signatureProblem(
  { hash, keyAlgorithm, signature }: SignerInfo,
  certificate: X509Certificate,
  { signedSize }: ModuleLayout,
  digests: ContentDigests,
): Promise<string | null> {
  if (!isHashAlgorithm(hash)) return `The digest algorithm ${hash} is not one that kernels accept`;
  const key = publicKeyOf(certificate);
  if (key === null) return "The certificate's key is of an unknown kind";
  const type = key.asymmetricKeyType === 'ec' ? 'ecdsa' : key.asymmetricKeyType;
  if (keyAlgorithm !== type)
    return `The signature algorithm ${keyAlgorithm} does not fit the certificate's key`;
  const fits = await checkSignature(key, hash, await digests.get(hash, signedSize), signature);
  return fits ? null : 'The signature does not fit the module: its bytes were changed, or another key signed';
}

function publicKeyOf(certificate: X509Certificate): KeyObject | null {
  try {
    return certificate.publicKey;
  } catch {
    return null;
  }
}

function parseEmbedded({ certificates }: SignedData): X509Certificate[] {
  return certificates.map((raw) => {
    try {
      const certificate = new X509Certificate(raw);
      certificateFields(certificate);
      return certificate;
    } catch {
      throw new DerError('a certificate in it cannot be read');
    }
  });
}

function untrustedProblem(signer: SignerInfo, certificates: readonly X509Certificate[]): string | null {
  if (certificates.length === 0) return null;
  const { signer: name } = describeSigner(signer);
  const who =
    name.form === 'issuer-and-serial'
      ? `by issuer ${name.issuer} with serial number ${name.serialNumber}`
      : `with key identifier ${name.keyIdentifier}`;
  return `The signer's certificate, ${who}, is not among those given`;
}

function describeSigner({ identifier, hash, keyAlgorithm }: SignerInfo): ModuleSignature {
  return {
    signer:
      identifier.form === 'issuer-and-serial'
        ? {
            form: 'issuer-and-serial',
            issuer: formatDistinguishedName(identifier.issuer),
            serialNumber: serialText(identifier.serialNumber),
          }
        : { form: 'key-identifier', keyIdentifier: identifier.keyIdentifier.toString('hex') },
    hash,
    keyAlgorithm,
  };
}

/** The digits of an INTEGER in DER, as openssl and modinfo print them, without colons. */
function serialText(integer: Buffer): string {
  return integer
    .subarray(integer[1] !== undefined && integer[1] > 0x80 ? 2 + (integer[1] & 0x7f) : 2)
    .toString('hex')
    .toUpperCase();
}

function verdict(
  layout: ModuleLayout | null,
  state: ModuleState,
  signer: SignerInfo | null,
  problem: string | null,
  fingerprint: string | null = null,
): ModuleVerdict {
  return {
    state,
    layout,
    signature: signer === null ? null : describeSigner(signer),
    certificateFingerprint: fingerprint,
    problem,
  };
}
