import type { Platform } from '../../registry/platform.ts';
import { verifyImage } from '../../signer/verify-image.ts';
import { exitCodeOfState, type ExitCode } from '../exit-codes.ts';
import { loadTrustedCertificates } from '../kubernetes/certificates.ts';
import { Images } from '../open-image.ts';
import type { RegistryFlags } from '../options/registry-flags.ts';
import { verifyReportText } from '../output/inspect-report.ts';
import type { Session } from '../session.ts';

export interface VerifyOptions {
  readonly image: string;
  readonly registry: RegistryFlags;
  readonly cert: readonly string[];
  readonly file: readonly string[];
  readonly platform: readonly Platform[];
}

/** Verifies every module of an image; the exit code is that of the worst. */
export async function verify(options: VerifyOptions, session: Session): Promise<ExitCode> {
  const certificates = await loadTrustedCertificates(options.cert, session);
  await using images = new Images(session);
  const image = await images.open(options.image, options.registry);
  const report = await verifyImage({
    image,
    certificates,
    files: options.file.length === 0 ? undefined : options.file,
    platforms: options.platform.length === 0 ? undefined : options.platform,
    onProgress: session.progress.report,
    signal: session.signal,
  });
  session.output({ json: () => report, text: () => verifyReportText(report) });
  return exitCodeOfState(report.worst);
}
