import type { ImageRepository } from '../../src/registry/image/repository.ts';
import type { Signer } from '../../src/signer/cms/signer.ts';
import type { SignReport } from '../../src/signer/model/report.ts';
import { signImage, type SignImageOptions } from '../../src/signer/sign-image.ts';

/** What most tests of signing images need: the operations, their reports, and images and keys to use them on. */
export type { ImageRepository } from '../../src/registry/image/repository.ts';
export { inspectImage, verifyImage } from '../../src/signer/inspect-image.ts';
export type { InspectReport, SignReport } from '../../src/signer/model/report.ts';
export { signImage, type SignImageOptions } from '../../src/signer/sign-image.ts';
export * from './images.ts';
export * from './signing.ts';

/** Signs what the tag 1.0 of one repository names, and publishes it under the tag 1.0 of another. */
export function signTag(
  source: ImageRepository,
  destination: ImageRepository,
  signer: Signer,
  options: Partial<SignImageOptions> = {},
): Promise<SignReport> {
  return signImage({
    source: { repository: source, selector: { tag: '1.0' } },
    destination: { repository: destination, tag: '1.0' },
    signer,
    ...options,
  });
}
