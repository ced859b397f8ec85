import type { ErrorFacts } from '../../../shared/errors.ts';
import { SignerError } from '../../../signer/model/errors.ts';
import type { InspectReport, ModuleReport } from '../../../signer/model/report.ts';
import { verifyImage, type VerifyImageOptions } from '../../../signer/inspect-image.ts';

/** The result of verifying the signatures of an image's modules. */
export type Verdict =
  | {
      /** Every requested module has a signature by one of the certificates. */
      readonly state: 'signed';
      /** Their number, on all platforms. */
      readonly modules: number;
    }
  | {
      readonly state:
        | 'unsigned'
        /** Signed with other certificates. */
        | 'untrusted'
        /** A signature names one of the certificates but does not match the module. */
        | 'invalid'
        /** A module or signature cannot be read. */
        | 'damaged'
        /** There is no module, or none at a requested path. */
        | 'no-modules';
      /** One sentence that names the first affected path. */
      readonly problem: string;
    };

/**
 * Reads and verifies an image's modules.
 * @param options `files`: absolute paths or globs; none: every kernel module
 * @throws RegistryError, SignerError if the image cannot be read
 */
export async function verifyModules(
  options: VerifyImageOptions & { readonly files: readonly string[] },
): Promise<Verdict> {
  const { files } = options;
  try {
    return verdictOf(await verifyImage({ ...options, files: files.length === 0 ? undefined : files }));
  } catch (error) {
    if (error instanceof SignerError && error.code === 'FILE_NOT_IN_IMAGE') return noModules(error.facts);
    if (error instanceof SignerError && error.code === 'NOT_A_MODULE') {
      return { state: 'damaged', problem: error.message };
    }
    throw error;
  }
}

/** Returns the verdict if there is no module. Verdicts are cached by digest, so it names no repository. */
function noModules({ patterns }: ErrorFacts): Verdict {
  const missing = Array.isArray(patterns) ? patterns.join(', ') : '';
  const problem = missing === '' ? 'The image has no kernel module' : `The image does not have ${missing}`;
  return { state: 'no-modules', problem };
}

function verdictOf({ platforms, worst }: InspectReport): Verdict {
  if (worst === null) return noModules({});
  const modules = platforms.flatMap(({ platform, modules: ofPlatform }) =>
    ofPlatform.map((module) => ({ module, platform })),
  );
  if (worst === 'trusted') return { state: 'signed', modules: modules.length };
  const offending = modules.filter(({ module }) => module.state === worst);
  const [first] = offending;
  if (first === undefined) throw new RangeError(`no module is ${worst}`);
  const where = platforms.length > 1 && first.platform !== null ? ` (${first.platform})` : '';
  const more = offending.length > 1 ? `, and ${offending.length - 1} more` : '';
  return { state: worst, problem: `${first.module.path}${where} ${reasonOf(first.module)}${more}` };
}

function reasonOf({ state, problem, signature }: ModuleReport): string {
  switch (state) {
    case 'unsigned':
      return 'is not signed';
    case 'untrusted':
      return `is signed with another certificate${signature === null ? '' : ` (${signerName(signature.signer)})`}`;
    case 'invalid':
      return 'has a signature that does not match its content';
    case 'damaged':
    case 'trusted':
      return `cannot be read${problem === null ? '' : `: ${problem}`}`;
  }
}

type SignerName = NonNullable<ModuleReport['signature']>['signer'];

function signerName(signer: SignerName): string {
  return signer.form === 'key-identifier'
    ? `key ${signer.keyIdentifier}`
    : `${signer.issuer}, serial number ${signer.serialNumber}`;
}
