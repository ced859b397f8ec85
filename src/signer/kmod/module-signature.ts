import { encodeSignedData } from '../cms/signed-data.ts';
import type { HashAlgorithm } from '../hash.ts';
import type { Signer, SignerIdentifierForm } from '../keys/signer.ts';
import { encodeTrailer } from './trailer.ts';

/** How a module is to be signed. */
export interface ModuleSignatureOptions {
  readonly signer: Signer;
  readonly hash: HashAlgorithm;
  readonly identifierForm: SignerIdentifierForm;
}

/**
 * Makes what is appended to a module: CMS, struct and magic. `digest` is that of the module's bytes
 * without earlier signatures. @throws SignerError INVALID_KEY, INVALID_CERTIFICATE
 */
export async function createModuleSignature(
  options: ModuleSignatureOptions & { readonly digest: Buffer },
): Promise<Buffer> {
  const cms = await createDetachedSignature(options);
  return Buffer.concat([cms, encodeTrailer(cms.length)]);
}

/** Makes the CMS alone, what `sign-file -d` writes as MODULE.p7s. */
export async function createDetachedSignature(
  options: ModuleSignatureOptions & { readonly digest: Buffer },
): Promise<Buffer> {
  const { signer, hash, digest, identifierForm } = options;
  return encodeSignedData({
    certificate: signer.certificate,
    identifierForm,
    keyAlgorithm: signer.key.algorithm,
    hash,
    signature: await signer.key.signDigest(hash, digest),
  });
}
