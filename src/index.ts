/**
 * The library behind the program: signing, verifying and inspecting the kernel modules of OCI images, and
 * the registry client that it stands on.
 */
export { KmmError, type ErrorFacts } from './shared/errors.ts';
export { silentLogger, type LogFields, type Logger } from './shared/log.ts';
export { Secret } from './shared/secret.ts';

export { RegistryClient, type RegistryClientOptions } from './registry/client.ts';
export type { Digest } from './registry/digest.ts';
export { RegistryError, type RegistryErrorCode } from './registry/errors.ts';
export type {
  BlobOutcome,
  ImageRepository,
  OperationOptions,
  Selector,
  Traffic,
} from './registry/image/repository.ts';
export { parseImageLocation, type ImageLocationReference } from './registry/image-location.ts';
export type {
  ChildDescriptor,
  Descriptor,
  ImageIndex,
  ImageManifest,
  JsonObject,
  Manifest,
  ManifestFamily,
  RawManifest,
} from './registry/manifest.ts';
export { openRepository, selectorOf } from './registry/open-repository.ts';
export type { CredentialSource, RegistryOptions } from './registry/options.ts';
export { formatPlatform, parsePlatform, type Platform } from './registry/platform.ts';
export { formatReference, parseReference, type Reference } from './registry/reference.ts';

export { SignerError, type SignerErrorCode } from './signer/errors.ts';
export {
  extractModules,
  type ExtractedFile,
  type ExtractModulesOptions,
  type ExtractReport,
} from './signer/extract-image.ts';
export { hashAlgorithms, type HashAlgorithm } from './signer/hash.ts';
export { inspectImage, type ImageLocation, type InspectImageOptions } from './signer/inspect-image.ts';
export { loadCertificates } from './signer/keys/certificates.ts';
export { loadSigner, type LoadSignerOptions } from './signer/keys/load-signer.ts';
export type { Signer, SignerIdentifierForm, SigningKey } from './signer/keys/signer.ts';
export type { ModuleInfo, ModuleSignature, ModuleState } from './signer/kmod/module.ts';
export type * from './signer/report.ts';
export { signImage, type SignImageOptions } from './signer/sign-image.ts';
export { verifyImage, type VerifyImageOptions } from './signer/verify-image.ts';
