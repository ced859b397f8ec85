import type { X509Certificate } from 'node:crypto';
import { der, DerError, derTag } from '../cms/der.ts';
import { formatDistinguishedName, certificateFingerprint } from '../cms/certificates.ts';
import { parseSignedData, type SignedData, type SignerInfo } from '../cms/parse-signed-data.ts';
import { SignatureRefusal, SignerError } from '../model/errors.ts';
import type { HashAlgorithm, ModuleLayout, ModuleSignature, ModuleState } from '../model/module.ts';
import type { ByteSource } from '../../shared/byte-source.ts';
import { ContentDigests } from './content-digest.ts';
import { hasRsaKey, Keyring } from './keyring.ts';
import { readSignedLayout } from './trailer.ts';
import { checkTrust, type TrustResult } from './trust.ts';

/** The verdict of a kernel that trusts the given certificates on a module. */
export interface ModuleVerdict {
  readonly state: ModuleState;
  /** The last signature, by the signer that decided. */
  readonly signature: ModuleSignature | null;
  /** null if the trailer is damaged. */
  readonly layout: ModuleLayout | null;
  /** Fingerprint of the given certificate that the signature chains to. */
  readonly certificateFingerprint: string | null;
  /** What is wrong, in one sentence. */
  readonly problem: string | null;
}

/**
 * Verifies an unpacked module by its last signature, which covers all bytes before it. `digests` may already
 * hold digests of the source's bytes, and receives those that are computed.
 */
export async function verifyModule(
  source: ByteSource,
  certificates: readonly X509Certificate[],
  digests = new ContentDigests(source),
): Promise<ModuleVerdict> {
  let layout: ModuleLayout | null = null;
  try {
    const signed = await readSignedLayout(source);
    layout = signed.layout;
    if (signed.signature === null) return verdict(layout, 'unsigned', null, 'The module is not signed');
    if (signed.oldType !== null) return verdict(layout, 'invalid', null, oldTypeProblem(signed.oldType));
    const cms = parseSignedData(signed.signature);
    return await verifyMessage(cms, layout, certificates, digests);
  } catch (error) {
    if (error instanceof SignerError && error.code === 'DAMAGED_MODULE') {
      return verdict(layout, 'damaged', null, error.message);
    }
    if (error instanceof SignatureRefusal) return unparsedVerdict(layout, error);
    throw error;
  }
}

/** Returns the verdict for a message that the kernel's parser refuses, which may be well-formed. */
function unparsedVerdict(layout: ModuleLayout | null, refusal: SignatureRefusal): ModuleVerdict {
  const { code, message } = refusal;
  if (code === 'ENOPKG' || code === 'EKEYREJECTED')
    return verdict(layout, 'invalid', null, refusalText(refusal));
  const problem = `The appended signature is not a CMS that kernels accept: ${message} (they return ${code})`;
  return verdict(layout, 'damaged', null, problem);
}

/**
 * Verifies for kernels with and without ECDSA: both must trust the message, unless it is signed with ECDSA. Where all
 * keys are RSA, both come to the same verdict.
 */
async function verifyMessage(
  cms: SignedData,
  layout: ModuleLayout,
  certificates: readonly X509Certificate[],
  digests: ContentDigests,
): Promise<ModuleVerdict> {
  const digest = (hash: HashAlgorithm) => digests.get(hash, layout.signedSize);
  const check = async (ecdsa: boolean) => {
    const keyring = await Keyring.load(certificates, { ecdsa });
    return { keyring, result: await checkTrust(cms, keyring, digest) };
  };
  const modern = await check(true);
  const { result } = modern;
  if (!result.trusted) return refusedVerdict(layout, cms, modern);
  const usesRsaOnly = modern.keyring.hasOnlyRsa && cms.certificates.every(hasRsaKey);
  if (result.signer.keyAlgorithm !== 'ecdsa' && !usesRsaOnly) {
    const plain = await check(false);
    if (!plain.result.trusted) return refusedVerdict(layout, cms, plain);
  }
  return verdict(layout, 'trusted', result.signer, null, certificateFingerprint(result.anchor));
}

function refusedVerdict(
  layout: ModuleLayout,
  cms: SignedData,
  { keyring, result }: { readonly keyring: Keyring; readonly result: TrustResult },
): ModuleVerdict {
  if (result.trusted) throw new RangeError('a trusted message was not refused');
  const { refusal, anchor } = result;
  const signer = result.signer ?? cms.signers[0];
  if (refusal.code === 'ENOKEY')
    return verdict(layout, 'untrusted', signer, untrustedProblem(signer, keyring));
  const fingerprint = anchor === null ? null : certificateFingerprint(anchor);
  return verdict(layout, 'invalid', signer, refusalText(refusal), fingerprint);
}

function oldTypeProblem(type: string): string {
  return `The module has a signature of the old type ${type}, which kernels since 4.3 do not support (they return ENOPKG)`;
}

function refusalText({ code, message }: SignatureRefusal): string {
  return `The module has a signature ${message} (kernels return ${code})`;
}

function untrustedProblem(signer: SignerInfo, keyring: Keyring): string | null {
  if (keyring.isEmpty) return null;
  const unloadable = keyring.findUnloadable(signer.keyId);
  if (unloadable !== undefined) {
    const { certificate, refusal } = unloadable;
    const subject = certificate.subject.replaceAll('\n', ', ');
    return `Kernels do not load the signer's certificate, of ${subject}: it comes ${refusal.message} (${refusal.code})`;
  }
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
            issuer: issuerText(identifier.issuer),
            serialNumber: identifier.serialNumber.toString('hex').toUpperCase(),
          }
        : { form: 'key-identifier', keyIdentifier: identifier.keyIdentifier.toString('hex') },
    hash,
    keyAlgorithm,
  };
}

/** Formats a name. Kernels compare names byte by byte, so it may not be readable. */
function issuerText(contents: Buffer): string {
  try {
    return formatDistinguishedName(der(derTag.sequence, contents));
  } catch (error) {
    if (error instanceof DerError) return `#${contents.toString('hex', 0, 64)}`;
    throw error;
  }
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
