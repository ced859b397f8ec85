import { inspectImage } from '../../signer/inspect-image.ts';
import { loadTrustedCertificates } from '../kubernetes/certificates.ts';
import { Images } from '../open-image.ts';
import { inspectReportText } from '../output/inspect-report.ts';
import type { Session } from '../session.ts';
import type { VerifyOptions } from './verify.ts';

/** Lists the modules of an image. What is found is no failure, whatever its state. */
export async function inspect(options: VerifyOptions, session: Session): Promise<void> {
  const certificates = await loadTrustedCertificates(options.cert, session);
  await using images = new Images(session);
  const image = await images.open(options.image, options.registry);
  const report = await inspectImage({
    image,
    certificates,
    files: options.file.length === 0 ? undefined : options.file,
    platforms: options.platform.length === 0 ? undefined : options.platform,
    onProgress: session.progress.report,
    signal: session.signal,
  });
  session.output({ json: () => report, text: () => inspectReportText(report) });
}
