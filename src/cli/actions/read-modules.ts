import type { Platform } from '../../registry/model/platform.ts';
import type { InspectReport } from '../../signer/model/report.ts';
import type { VerifyImageOptions } from '../../signer/verify-image.ts';
import { loadTrustedCertificates } from '../kubernetes/certificates.ts';
import { Images } from '../session/open-image.ts';
import type { RegistryFlags } from '../options/registry-flags.ts';
import { given } from '../options/values.ts';
import type { Session } from '../session/session.ts';

/** What commands that read the modules of an image are told. */
export interface ReadModulesOptions {
  readonly image: string;
  readonly registry: RegistryFlags;
  readonly cert: readonly string[];
  readonly file: readonly string[];
  readonly platform: readonly Platform[];
}

/** Has `read` report on an image that is opened for it. @throws CliError, RegistryError, SignerError */
export async function readModules(
  { image, registry, cert, file, platform }: ReadModulesOptions,
  session: Session,
  read: (request: VerifyImageOptions) => Promise<InspectReport>,
): Promise<InspectReport> {
  const certificates = await loadTrustedCertificates(cert, session);
  await using images = new Images(session);
  const report = await read({
    image: await images.open(image, registry),
    certificates,
    files: given(file),
    platforms: given(platform),
    onProgress: session.progress.report,
    signal: session.signal,
  });
  for (const warning of report.warnings) session.logger.warn(warning);
  return report;
}
