import type { Platform } from '../../registry/model/platform.ts';
import type { HashAlgorithm } from '../../signer/model/module.ts';
import { loadExternalSigner, loadSigner } from '../../signer/keys/load-signer.ts';
import { passphraseFrom, type PassphraseProvider, isTokenUri } from '../../signer/keys/reference.ts';
import type { ExistingSignaturePolicy, SignMode, SignReport } from '../../signer/model/report.ts';
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
  await using signing = await openSigning(options, session);
  const { report, repository } = await signing.sign(options.source, options.destination);
  await writeDigestFile(options.digestFile, report.digest);
  session.output({ json: () => report, text: () => signReportText(report, repository) });
}

/** What is signed with, and where: the same for all images of a run. */
interface Signing extends AsyncDisposable {
  /** Signs one image. @throws CliError, RegistryError, SignerError */
  sign(source: string, destination: string): Promise<SignedOne>;
}

/** The report on one image, and the name of the repository in which it is now. */
interface SignedOne {
  readonly report: SignReport;
  readonly repository: string;
}

/** Loads the key, and opens what several images share: connections, and what is known of layers. */
export async function openSigning(
  options: Omit<SignOptions, 'source' | 'destination'>,
  session: Session,
): Promise<Signing> {
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
  const common = { signer, signFile, ...signingOptions(options, session) };
  const disposables = new AsyncDisposableStack();
  const layerContents = options.cache ? await openLayerCache(session.environment) : undefined;
  if (layerContents !== undefined) disposables.use(layerContents);
  const images = disposables.use(new Images(session));
  return {
    async sign(from, to) {
      const source = await images.open(from, options.from);
      const destination = await images.openDestination(to, options.to);
      const report = await signImage({ source, destination, layerContents, ...common });
      for (const warning of report.warnings)
        if (!signer.warnings.includes(warning)) session.logger.warn(warning);
      return { report, repository: destination.repository.name };
    },
    [Symbol.asyncDispose]: () => disposables.disposeAsync(),
  };
}

function signingOptions(
  options: Omit<SignOptions, 'source' | 'destination'>,
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
  { signFile, key, cert }: Pick<SignOptions, 'signFile' | 'key' | 'cert'>,
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
