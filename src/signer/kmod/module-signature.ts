import { createHash } from 'node:crypto';
import { encodeSignedData } from '../cms/signed-data.ts';
import type { HashAlgorithm } from '../model/hash.ts';
import type { Signer, SignerIdentifierForm, SigningKey } from '../cms/signer.ts';
import { encodeTrailer } from './trailer.ts';

/** How to sign a module. */
export interface ModuleSignatureOptions {
  readonly signer: Signer;
  readonly hash: HashAlgorithm;
  readonly identifierForm: SignerIdentifierForm;
}

/**
 * A module without earlier signatures: its digest, or its bytes, which must not change until they are signed.
 */
export type SignedMessage = { readonly digest: Buffer } | { readonly content: Buffer };

/**
 * Creates what is appended to a module: CMS, struct and magic.
 * @throws SignerError INVALID_KEY, INVALID_CERTIFICATE
 */
export async function createModuleSignature(
  options: ModuleSignatureOptions & SignedMessage,
): Promise<Buffer> {
  const cms = await createDetachedSignature(options);
  return Buffer.concat([cms, encodeTrailer(cms.length)]);
}

/** Creates the CMS alone, as `sign-file -d` writes it to MODULE.p7s. */
export async function createDetachedSignature(
  options: ModuleSignatureOptions & SignedMessage,
): Promise<Buffer> {
  const { signer, hash, identifierForm } = options;
  return encodeSignedData({
    certificate: signer.certificate,
    identifierForm,
    keyAlgorithm: signer.key.algorithm,
    hash,
    signature: await signMessage(signer.key, hash, options),
  });
}

function signMessage(key: SigningKey, hash: HashAlgorithm, message: SignedMessage): Promise<Buffer> {
  if ('digest' in message) return key.signDigest(hash, message.digest);
  if (key.signContent !== undefined) return key.signContent(hash, message.content);
  return key.signDigest(hash, createHash(hash).update(message.content).digest());
}
