import type { X509Certificate } from 'node:crypto';
import { inspectImage, type InspectImageOptions } from './inspect-image.ts';
import type { InspectReport } from './model/report.ts';

export interface VerifyImageOptions extends InspectImageOptions {
  /** The trusted certificates; at least one. */
  readonly certificates: readonly X509Certificate[];
}

/**
 * Verifies every kernel module of an image against certificates. The verdict is in the report: `worst` is
 * `trusted` if every module is, and null if the image holds none.
 * @throws RegistryError, SignerError if the image cannot be read
 */
export function verifyImage(options: VerifyImageOptions): Promise<InspectReport> {
  if (options.certificates.length === 0) throw new TypeError('verifyImage needs at least one certificate');
  return inspectImage(options);
}
