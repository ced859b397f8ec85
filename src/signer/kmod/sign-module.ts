import { createHash } from 'node:crypto';
import { encodeSignedData } from '../cms/signed-data.ts';
import type { HashAlgorithm } from '../model/module.ts';
import type { SignatureMethod, SigningKey } from '../cms/signer.ts';
import { encodeTrailer } from './trailer.ts';
import { SignerError, damagedModule } from '../model/errors.ts';
import type { ExistingSignaturePolicy, SignAction } from '../model/report.ts';
import type { ModuleAnalysis } from './analyze-module.ts';

/**
 * Decides what signing does with a module that was analyzed with the signer's certificate as trusted. A
 * module that already has exactly the requested signature is left alone, whatever the policy.
 * @throws SignerError ALREADY_SIGNED; DAMAGED_MODULE if earlier signatures cannot be removed
 */
export function decideSignAction(
  analysis: Pick<ModuleAnalysis, 'layout' | 'verdict'>,
  method: SignatureMethod,
  policy: ExistingSignaturePolicy,
  path: string,
): SignAction {
  if (analysis.layout.signatures === 0) return 'signed';
  if (hasRequestedSignature(analysis, method)) return 'unchanged';
  switch (policy) {
    case 'replace':
      if (analysis.layout.unremovable !== null) throw damagedModule(analysis.layout.unremovable);
      return 'replaced';
    case 'keep':
      return 'kept';
    case 'fail':
      throw new SignerError({
        code: 'ALREADY_SIGNED',
        message: `${path} is already signed`,
        hint: 'Earlier signatures can be replaced or kept: --existing replace, --existing keep.',
        facts: { path },
      });
  }
}

/** Returns whether the action changes the module's bytes. */
export function changesModule(action: SignAction): boolean {
  return action === 'signed' || action === 'replaced';
}

/**
 * Returns whether the module has a single valid signature by this certificate, with this digest algorithm and
 * signer identifier form.
 */
function hasRequestedSignature(
  { verdict, layout }: Pick<ModuleAnalysis, 'layout' | 'verdict'>,
  { signer, hash, identifierForm }: SignatureMethod,
): boolean {
  return (
    layout.signatures === 1 &&
    layout.unremovable === null &&
    verdict.state === 'trusted' &&
    verdict.certificateFingerprint === signer.fingerprint &&
    verdict.signature?.hash === hash &&
    verdict.signature.signer.form === identifierForm
  );
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
  method: SignatureMethod,
  message: SignedMessage,
): Promise<Buffer> {
  const cms = await createDetachedSignature(method, message);
  return Buffer.concat([cms, encodeTrailer(cms.length)]);
}

/** Creates the CMS alone, as `sign-file -d` writes it to MODULE.p7s. */
export async function createDetachedSignature(
  method: SignatureMethod,
  message: SignedMessage,
): Promise<Buffer> {
  return encodeSignedData(method, await signMessage(method.signer.key, method.hash, message));
}

function signMessage(key: SigningKey, hash: HashAlgorithm, message: SignedMessage): Promise<Buffer> {
  if ('digest' in message) return key.signDigest(hash, message.digest);
  if (key.signContent !== undefined) return key.signContent(hash, message.content);
  return key.signDigest(hash, createHash(hash).update(message.content).digest());
}
