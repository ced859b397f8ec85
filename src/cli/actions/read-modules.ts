import type { X509Certificate } from 'node:crypto';
import type { Platform } from '../../registry/model/platform.ts';
import { inspectImage, type VerifyImageOptions, verifyImage } from '../../signer/inspect-image.ts';
import { loadCertificates } from '../../signer/keys/load-signer.ts';
import type { InspectReport } from '../../signer/model/report.ts';
import type { RegistryFlags } from '../options/registry-flags.ts';
import { nonEmpty } from '../options/shared-options.ts';
import { type ExitCode, exitCodeOfState } from '../output/exit-codes.ts';
import { writeResultFile } from '../output/digest-file.ts';
import { junitReport } from '../output/junit-report.ts';
import { inspectReportText, verifyReportText } from '../output/inspect-report.ts';
import { Images } from '../session/open-image.ts';
import type { Session } from '../session/session.ts';
import { extractModules } from '../../signer/extract-image.ts';
import { count, printable } from '../../shared/printable.ts';
import { formatBytes, table } from '../output/text.ts';

/** Lists the modules of an image. A module in any state is not a failure. */
export async function inspect(options: ReadModulesOptions, session: Session): Promise<void> {
  const report = await readModules(options, session, inspectImage);
  session.output({ json: () => report, text: () => inspectReportText(report) });
}

/** Verifies all modules of an image; the exit code is that of the worst. */
export async function verify(
  options: ReadModulesOptions & { readonly junitFile?: string | undefined },
  session: Session,
): Promise<ExitCode> {
  const report = await readModules(options, session, verifyImage);
  await writeResultFile(options.junitFile, junitReport(report));
  session.output({ json: () => report, text: () => verifyReportText(report) });
  return exitCodeOfState(report.worst);
}

/** Options of the commands that read the modules of an image. */
interface ReadModulesOptions {
  readonly image: string;
  readonly registry: RegistryFlags;
  readonly cert: readonly string[];
  readonly file: readonly string[];
  readonly platform: readonly Platform[];
}

/** Opens an image and lets `read` report on it. @throws CliError, RegistryError, SignerError */
async function readModules(
  { image, registry, cert, file, platform }: ReadModulesOptions,
  session: Session,
  read: (request: VerifyImageOptions) => Promise<InspectReport>,
): Promise<InspectReport> {
  const certificates = await loadTrustedCertificates(cert, session);
  await using images = new Images(session);
  const report = await read({
    image: await images.open(image, registry),
    certificates,
    files: nonEmpty(file),
    platforms: nonEmpty(platform),
    onProgress: session.progress.report,
    signal: session.signal,
  });
  for (const warning of report.warnings) session.logger.warn(warning);
  return report;
}

/**
 * Loads the certificates given with `--cert`, all of them from a file with several.
 * @throws SignerError INVALID_CERTIFICATE
 */
async function loadTrustedCertificates(
  references: readonly string[],
  session: Session,
): Promise<X509Certificate[]> {
  const sources = { env: session.environment, readSecret: session.secrets };
  const loaded = await Promise.all(references.map((reference) => loadCertificates(reference, sources)));
  return loaded.flat();
}

export interface ExtractOptions {
  readonly image: string;
  readonly registry: RegistryFlags;
  readonly directory: string;
  readonly file: readonly string[];
  readonly platform?: Platform | undefined;
}

/** Copies modules out of an image. */
export async function extract(options: ExtractOptions, session: Session): Promise<void> {
  await using images = new Images(session);
  const image = await images.open(options.image, options.registry);
  const { files } = await extractModules({
    image,
    files: nonEmpty(options.file),
    platform: options.platform,
    directory: options.directory,
    signal: session.signal,
  });
  session.output({
    json: () => ({ image: options.image, files }),
    text: () =>
      [
        table(files.map(({ path, target, size }) => [printable(path), printable(target), formatBytes(size)])),
        `Extracted ${count(files.length, 'file')}`,
      ].join('\n'),
  });
}
