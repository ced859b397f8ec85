import type { RegistryErrorCode } from '../../registry/model/errors.ts';
import type { ModuleState } from '../../signer/model/module.ts';
import type { SignerErrorCode } from '../../signer/model/errors.ts';
import type { CliErrorCode } from './usage-error.ts';

/** The exit codes of the program. Stable: scripts switch on them. */
export const exitCodes = {
  done: 0,
  unexpected: 1,
  usage: 2,
  imageNotFound: 3,
  denied: 4,
  registry: 5,
  fileNotInImage: 6,
  unsigned: 10,
  untrusted: 11,
  corrupt: 12,
  key: 13,
  timeout: 124,
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** One line per exit code, as shown in the help text and the documentation. */
export const exitCodeMeanings: Readonly<Record<keyof typeof exitCodes, string>> = {
  done: 'done',
  unexpected: 'unexpected: a local file, a missing program, or a bug',
  usage: 'usage: an option, argument, reference or configuration file is wrong',
  imageNotFound: 'image, tag or platform not found',
  denied: 'authentication or permission',
  registry: 'registry or network, after retries',
  fileNotInImage: 'requested file not in the image, or not a kernel module; no module at all',
  unsigned: 'unsigned module',
  untrusted: 'signature invalid or not trusted; module already signed',
  corrupt: 'corrupt or hostile content',
  key: 'key or certificate',
  timeout: 'timeout',
  interrupted: 'interrupted',
};

const registryExitCodes: Readonly<Record<RegistryErrorCode, ExitCode>> = {
  INVALID_REFERENCE: exitCodes.usage,
  INVALID_CONFIGURATION: exitCodes.usage,
  NOT_FOUND: exitCodes.imageNotFound,
  BLOB_NOT_FOUND: exitCodes.corrupt,
  UNAUTHORIZED: exitCodes.denied,
  DENIED: exitCodes.denied,
  IMMUTABLE_TAG: exitCodes.denied,
  TOO_MANY_REQUESTS: exitCodes.registry,
  UNEXPECTED_RESPONSE: exitCodes.registry,
  NETWORK: exitCodes.registry,
  UNSAFE_REDIRECT: exitCodes.registry,
  DIGEST_MISMATCH: exitCodes.corrupt,
  INVALID_MANIFEST: exitCodes.corrupt,
  UNSUPPORTED_MEDIA_TYPE: exitCodes.corrupt,
  INVALID_LAYER: exitCodes.corrupt,
  LIMIT_EXCEEDED: exitCodes.corrupt,
  PLATFORM_NOT_FOUND: exitCodes.imageNotFound,
  IN_USE: exitCodes.unexpected,
};

const signerExitCodes: Readonly<Record<SignerErrorCode, ExitCode>> = {
  INVALID_KEY: exitCodes.key,
  INVALID_CERTIFICATE: exitCodes.key,
  KEY_CERTIFICATE_MISMATCH: exitCodes.key,
  WRONG_PASSPHRASE: exitCodes.key,
  NOT_A_MODULE: exitCodes.fileNotInImage,
  DAMAGED_MODULE: exitCodes.corrupt,
  LIMIT_EXCEEDED: exitCodes.corrupt,
  FILE_NOT_IN_IMAGE: exitCodes.fileNotInImage,
  INVALID_PATTERN: exitCodes.usage,
  OSTREE_OBJECT: exitCodes.usage,
  VIEWS_DIFFER: exitCodes.usage,
  ALREADY_SIGNED: exitCodes.untrusted,
  UNSIGNED: exitCodes.unsigned,
  UNTRUSTED: exitCodes.untrusted,
  VERIFICATION_FAILED: exitCodes.untrusted,
  PROGRAM_FAILED: exitCodes.unexpected,
  FILE_ERROR: exitCodes.unexpected,
};

const cliExitCodes: Readonly<Record<CliErrorCode, ExitCode>> = {
  USAGE: exitCodes.usage,
  SECRET_UNREADABLE: exitCodes.key,
  TIMEOUT: exitCodes.timeout,
  INTERRUPTED: exitCodes.interrupted,
};

/** All error codes of the program with their exit codes. */
export const errorExitCodes: Readonly<Record<string, ExitCode>> = {
  ...registryExitCodes,
  ...signerExitCodes,
  ...cliExitCodes,
};

/** Returns the exit code for the worst module found by `verify`; null stands for an image without modules. */
export function exitCodeOfState(worst: ModuleState | null): ExitCode {
  switch (worst) {
    case null:
      return exitCodes.fileNotInImage;
    case 'trusted':
      return exitCodes.done;
    case 'unsigned':
      return exitCodes.unsigned;
    case 'untrusted':
    case 'invalid':
      return exitCodes.untrusted;
    case 'damaged':
      return exitCodes.corrupt;
  }
}
