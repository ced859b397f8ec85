import type { HashAlgorithm } from '../../model/hash.ts';
import type { Signer, SignerIdentifierForm } from '../../cms/signer.ts';
import type { ExistingSignaturePolicy } from '../../model/report.ts';
import type { SignFileProgramOptions } from '../../keys/sign-file-program.ts';

/** The kernel tree's program, to sign with instead of our own code. */
export type ExternalSignFile = Pick<SignFileProgramOptions, 'program' | 'key' | 'certificate' | 'passphrase'>;

/** How modules are to be signed. */
export interface ModuleSigning {
  readonly signer: Signer;
  readonly hash: HashAlgorithm;
  readonly identifierForm: SignerIdentifierForm;
  readonly existing: ExistingSignaturePolicy;
  readonly signFile?: ExternalSignFile | undefined;
  readonly signal?: AbortSignal | undefined;
}
