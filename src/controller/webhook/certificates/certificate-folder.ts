import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Secret } from '../../../shared/secret.ts';
import type { Logger } from '../../../shared/logger.ts';
import { configurationError } from '../../configuration/errors.ts';
import { pause } from '../../../shared/backoff.ts';
import type { ServerCertificate } from './server-certificate.ts';

/** Milliseconds between two reads. */
const defaultInterval = 10_000;

/**
 * Reads tls.crt and tls.key from a folder laid out as by cert-manager or a mounted Secret.
 * @throws ConfigurationError if they cannot be read or do not match
 */
export async function readCertificateFolder(folder: string): Promise<ServerCertificate> {
  try {
    const certificate = await readFile(join(folder, 'tls.crt'), 'utf8');
    const key = await readFile(join(folder, 'tls.key'), 'utf8');
    if (new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) {
      return { certificate, key: new Secret(key) };
    }
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'not PEM';
    throw configurationError('The certificate folder', [
      `${folder}: tls.crt or tls.key cannot be read (${reason})`,
    ]);
  }
  throw configurationError('The certificate folder', [`${folder}: tls.crt and tls.key do not go together`]);
}

export interface FollowFolderOptions {
  readonly folder: string;
  /** The certificate in use. */
  readonly current: ServerCertificate;
  readonly use: (certificate: ServerCertificate) => Promise<void>;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Milliseconds between two reads. @default 10000 */
  readonly interval?: number | undefined;
}

/** Uses each new certificate until the signal is aborted. An unusable one is logged and skipped. */
export async function followCertificateFolder(options: FollowFolderOptions): Promise<void> {
  const { folder, use, log, signal, interval = defaultInterval } = options;
  let { certificate } = options.current;
  while (!signal.aborted) {
    await pause(interval, signal);
    if (signal.aborted) return;
    try {
      // Polling, not watching: mounted Secrets change by symbolic links that file events do not follow.
      const next = await readCertificateFolder(folder);
      if (next.certificate === certificate) continue;
      await use(next);
      ({ certificate } = next);
      log.info('certificate reloaded', { folder });
    } catch (error) {
      log.warn('certificate could not be reloaded', { folder, error });
    }
  }
}
