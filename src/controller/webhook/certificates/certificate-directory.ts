import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Secret } from '../../../shared/secret.ts';
import type { Logger } from '../../../shared/logger.ts';
import { configurationError } from '../../configuration/errors.ts';
import { pause } from '../../../shared/backoff.ts';
import type { ServerCertificate } from './server-certificate.ts';

/** Milliseconds between two reads. */
const readInterval = 10_000;

/**
 * Reads tls.crt and tls.key from a directory in the layout of cert-manager and of mounted Secrets.
 * @throws ConfigurationError if they cannot be read or do not match
 */
export async function readCertificateDirectory(directory: string): Promise<ServerCertificate> {
  try {
    const certificate = await readFile(join(directory, 'tls.crt'), 'utf8');
    const key = await readFile(join(directory, 'tls.key'), 'utf8');
    if (new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) {
      return { certificate, key: new Secret(key) };
    }
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'not PEM';
    throw configurationError('The certificate directory', [
      `${directory}: tls.crt or tls.key cannot be read (${reason})`,
    ]);
  }
  throw configurationError('The certificate directory', [`${directory}: tls.crt and tls.key do not match`]);
}

/**
 * Uses each new certificate until the signal is aborted. An unusable one is logged and skipped.
 * @param current the certificate in use
 */
export async function followCertificateDirectory(
  directory: string,
  current: ServerCertificate,
  use: (certificate: ServerCertificate) => Promise<void>,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  let { certificate } = current;
  while (!signal.aborted) {
    await pause(readInterval, signal);
    if (signal.aborted) return;
    try {
      // Polling, not watching: mounted Secrets change by symbolic links that file events do not follow.
      const next = await readCertificateDirectory(directory);
      if (next.certificate === certificate) continue;
      await use(next);
      ({ certificate } = next);
      log.info('certificate reloaded', { folder: directory });
    } catch (error) {
      log.warn('certificate could not be reloaded', { folder: directory, error });
    }
  }
}
