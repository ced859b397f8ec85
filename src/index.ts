/**
 * The library behind the program: signing, verifying and inspecting the kernel modules of OCI images, and
 * the registry client that it stands on.
 */
export type { LentChunk } from './shared/chunks.ts';
export { KmmError, type ErrorFacts } from './shared/errors.ts';
export { silentLogger, type LogFields, type Logger } from './shared/logger.ts';
export { Secret } from './shared/secret.ts';

export { RegistryClient, type RegistryClientOptions } from './registry/image/client.ts';
export type { Digest } from './registry/model/digest.ts';
export { RegistryError, type RegistryErrorCode } from './registry/model/errors.ts';
export type { ImageRepository, OperationOptions, Traffic } from './registry/image/repository.ts';
export type { BlobOutcome } from './registry/transfer/upload.ts';
export type { Selector } from './registry/model/reference.ts';
export { parseImageLocation, type ImageLocationReference } from './registry/open-repository.ts';
export type {
  ChildDescriptor,
  Descriptor,
  ImageIndex,
  ImageManifest,
  Manifest,
  ManifestFamily,
  RawManifest,
} from './registry/model/manifest.ts';
export type { JsonObject } from './registry/model/json.ts';
export { openRepository, selectorOf } from './registry/open-repository.ts';
export type { CredentialSource } from './registry/credentials/default-keychain.ts';
export type { RegistryOptions } from './registry/http/registry-transport.ts';
export { formatPlatform, parsePlatform, type Platform } from './registry/model/platform.ts';
export { formatReference, parseReference, type Reference } from './registry/model/reference.ts';

export { SignerError, type SignerErrorCode } from './signer/model/errors.ts';
export {
  extractModules,
  type ExtractedFile,
  type ExtractModulesOptions,
  type ExtractReport,
} from './signer/extract-image.ts';
export { hashAlgorithms, type HashAlgorithm } from './signer/model/module.ts';
export {
  inspectImage,
  verifyImage,
  type InspectImageOptions,
  type VerifyImageOptions,
} from './signer/inspect-image.ts';
export type { ImageLocation } from './signer/image/read/platform-images.ts';
export { loadCertificates } from './signer/keys/load-signer.ts';
export { loadSigner, type LoadSignerOptions } from './signer/keys/load-signer.ts';
export type { Signer, SignerIdentifierForm, SigningKey } from './signer/cms/signer.ts';
export type { ModuleInfo, ModuleSignature, ModuleState } from './signer/model/module.ts';
export type * from './signer/model/report.ts';
export { signImage, type SignImageOptions } from './signer/sign-image.ts';
