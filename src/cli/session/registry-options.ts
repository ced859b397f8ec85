import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import type { CredentialSource } from '../../registry/credentials/default-keychain.ts';
import type { RegistryOptions } from '../../registry/http/registry-transport.ts';
import { Secret } from '../../shared/secret.ts';
import { usageError } from '../output/usage-error.ts';
import type { Session } from './session.ts';
import { version } from '../output/version.ts';
import type { RegistryFlags } from '../options/registry-flags.ts';

/**
 * Converts the registry options of the command line to those of the registry layer.
 * @throws CliError USAGE
 */
export async function registryOptions(flags: RegistryFlags, session: Session): Promise<RegistryOptions> {
  return {
    credentials: await credentialSource(flags),
    plainHttp: flags.plainHttp,
    plainHttpTokenServers: flags.plainHttpTokenServer,
    insecureSkipTlsVerify: flags.insecureSkipTlsVerify,
    caFiles: flags.caFile,
    clientCertificate: clientCertificate(flags),
    certDirectory: flags.certDir,
    retries: flags.retries,
    logger: session.logger,
    userAgent: `kmm-sign/${version}`,
    environment: session.environment,
  };
}

async function credentialSource(flags: RegistryFlags): Promise<CredentialSource> {
  return {
    authfile: flags.authfile,
    explicit: await explicitCredentials(flags),
    pullSecrets: flags.pullSecret,
    anonymous: flags.anonymous,
  };
}

async function explicitCredentials(flags: RegistryFlags): Promise<CredentialSource['explicit']> {
  const { username, passwordFile, passwordStdin } = flags;
  if (username === undefined) {
    if (passwordFile === undefined && !passwordStdin) return undefined;
    throw usageError('A password was given without a username', 'Give --username too.');
  }
  if (flags.anonymous) throw usageError('Options --anonymous and --username contradict each other');
  if (passwordFile !== undefined && passwordStdin) {
    throw usageError('Options --password-file and --password-stdin contradict each other');
  }
  if (passwordFile !== undefined)
    return { username, password: withoutLineEnd(await readFile(passwordFile, 'utf8')) };
  if (passwordStdin) return { username, password: await passwordFromStdin() };
  throw usageError('A username was given without a password', 'Give --password-stdin or --password-file.');
}

let stdinPassword: Promise<Secret<string>> | undefined;

/** Reads stdin once, since source and destination may both need it. */
function passwordFromStdin(): Promise<Secret<string>> {
  stdinPassword ??= readAll(process.stdin).then(withoutLineEnd);
  return stdinPassword;
}

function withoutLineEnd(text: string): Secret<string> {
  return new Secret(text.replace(/\r?\n$/, ''));
}

function clientCertificate({ certFile, keyFile }: RegistryFlags): RegistryOptions['clientCertificate'] {
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile !== undefined && keyFile !== undefined) return { certFile, keyFile };
  throw usageError('Options --cert-file and --key-file belong together', 'Give both, or neither.');
}
