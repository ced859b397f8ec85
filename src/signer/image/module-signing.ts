import type { HashAlgorithm } from '../hash.ts';
import type { Signer, SignerIdentifierForm } from '../keys/signer.ts';
import type { ExistingSignaturePolicy } from '../report.ts';
import type { SignFileProgramOptions } from '../sign-file-program.ts';

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
