import type { Platform } from '../../registry/model/platform.ts';
import type { HashAlgorithm } from '../../signer/model/module.ts';
import { loadExternalSigner, loadSigner } from '../../signer/keys/load-signer.ts';
import { passphraseFrom, type PassphraseProvider, isTokenUri } from '../../signer/keys/reference.ts';
import type { ExistingSignaturePolicy, SignMode } from '../../signer/model/report.ts';
import { signImage, type SignImageOptions } from '../../signer/sign-image.ts';
import { usageError } from '../output/usage-error.ts';
import { Images } from '../session/open-image.ts';
import type { RegistryFlags } from '../options/registry-flags.ts';
import { nonEmpty } from '../options/shared-options.ts';
import { writeDigestFile } from '../output/digest-file.ts';
import { signReportText } from '../output/sign-report.ts';
import { openLayerCache } from '../session/layer-cache.ts';
import type { Session } from '../session/session.ts';

export interface SignOptions {
  readonly source: string;
  readonly destination: string;
  readonly from: RegistryFlags;
  readonly to: RegistryFlags;
  readonly key: string;
  readonly cert?: string | undefined;
  readonly passphraseFile?: string | undefined;
  readonly file?: readonly string[] | undefined;
  readonly allowUnmatched?: boolean | undefined;
  readonly hash?: HashAlgorithm | undefined;
  readonly keyIdentifier?: boolean | undefined;
  readonly mode?: SignMode | undefined;
  readonly existing?: ExistingSignaturePolicy | undefined;
  readonly platform?: readonly Platform[] | undefined;
  readonly dryRun?: boolean | undefined;
  readonly trustAnnotations?: boolean | undefined;
  readonly readBack?: boolean | undefined;
  readonly compressionLevel?: number | undefined;
  readonly signFile?: string | undefined;
  readonly sourceDateEpoch?: number | undefined;
  readonly digestFile?: string | undefined;
  /** Whether what layers contain is kept for later runs, and known from earlier ones. */
  readonly cache: boolean;
}

/** Publishes an image with its modules signed, and prints the report. */
export async function sign(options: SignOptions, session: Session): Promise<void> {
  // The key comes first, so that a wrong one is detected before anything is downloaded.
  const passphrase = passphraseFrom({ env: session.environment, file: options.passphraseFile });
  const signFile = await externalSignFile(options, passphrase);
  const signer = await (signFile !== undefined && isTokenUri(options.key)
    ? loadExternalSigner(signFile, { env: session.environment })
    : loadSigner({
        key: options.key,
        certificate: options.cert,
        passphrase,
        env: session.environment,
        readSecret: session.secrets,
      }));
  for (const warning of signer.warnings) session.logger.warn(warning);
  await using layerContents = options.cache ? await openLayerCache(session.environment) : undefined;
  await using images = new Images(session);
  const source = await images.open(options.source, options.from);
  const destination = await images.openDestination(options.destination, options.to);
  const report = await signImage({
    source,
    destination,
    signer,
    signFile,
    layerContents,
    ...signingOptions(options, session),
  });
  for (const warning of report.warnings) if (!signer.warnings.includes(warning)) session.logger.warn(warning);
  await writeDigestFile(options.digestFile, report.digest);
  session.output({ json: () => report, text: () => signReportText(report, destination.repository.name) });
}

function signingOptions(
  options: SignOptions,
  session: Session,
): Omit<SignImageOptions, 'source' | 'destination' | 'signer' | 'signFile' | 'layerContents'> {
  return {
    hash: options.hash,
    identifierForm: options.keyIdentifier === true ? 'key-identifier' : 'issuer-and-serial',
    files: nonEmpty(options.file),
    allowUnmatched: options.allowUnmatched,
    mode: options.mode,
    existing: options.existing,
    platforms: nonEmpty(options.platform),
    dryRun: options.dryRun,
    trustAnnotations: options.trustAnnotations,
    readBack: options.readBack,
    compressionLevel: options.compressionLevel,
    sourceDateEpoch: options.sourceDateEpoch ?? environmentEpoch(session.environment),
    onProgress: session.progress.report,
    signal: session.signal,
  };
}

async function externalSignFile(
  { signFile, key, cert }: SignOptions,
  passphrase: PassphraseProvider,
): Promise<SignImageOptions['signFile']> {
  if (signFile === undefined) return undefined;
  if (cert === undefined || [key, cert].some((reference) => /^(?:env|k8s):\/\//.test(reference))) {
    throw usageError(
      'Option --sign-file needs the key and the certificate as files',
      'Give --key FILE, or --key pkcs11:… for a key in a token, and --cert FILE.',
    );
  }
  if (isTokenUri(key) && /[;?&]pin-value=/i.test(key)) {
    throw usageError(
      'The PKCS #11 URI of --key contains the PIN, which anyone could read in the arguments of sign-file',
      'Put the PIN into a file and write pin-source=file:/PATH in place of pin-value, or into KBUILD_SIGN_PIN.',
    );
  }
  return { program: signFile, key, certificate: cert, passphrase: await passphrase() };
}

/** Reads SOURCE_DATE_EPOCH, a general convention (reproducible-builds.org). */
function environmentEpoch(environment: NodeJS.ProcessEnv): number | undefined {
  const text = environment['SOURCE_DATE_EPOCH'];
  if (text === undefined || text === '') return undefined;
  if (!/^\d{1,12}$/.test(text)) throw usageError('SOURCE_DATE_EPOCH is not a number of seconds');
  return Number(text);
}
