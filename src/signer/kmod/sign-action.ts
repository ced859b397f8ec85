import { SignerError, damagedModule } from '../model/errors.ts';
import type { ExistingSignaturePolicy, SignAction } from '../model/report.ts';
import type { ModuleAnalysis } from './analyze-module.ts';
import type { ModuleSignatureOptions } from './module-signature.ts';

/**
 * Decides what signing does with a module that was analyzed with the signer's certificate as trusted. A
 * module that already has exactly the wanted signature is left alone, whatever the policy.
 * @throws SignerError ALREADY_SIGNED; DAMAGED_MODULE if earlier signatures cannot be removed
 */
export function decideSignAction(
  analysis: Pick<ModuleAnalysis, 'layout' | 'verdict'>,
  { policy, path, ...wanted }: ModuleSignatureOptions & { policy: ExistingSignaturePolicy; path: string },
): SignAction {
  if (analysis.layout.signatures === 0) return 'signed';
  if (hasWantedSignature(analysis, wanted)) return 'unchanged';
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
function hasWantedSignature(
  { verdict, layout }: Pick<ModuleAnalysis, 'layout' | 'verdict'>,
  { signer, hash, identifierForm }: ModuleSignatureOptions,
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
