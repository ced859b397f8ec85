import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { Secret } from '../../../shared/secret.ts';
import { secrets, type Secret as SecretObject } from '../../observe/cluster/resources.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { isApiError, ignoreNotFound } from '../../runtime/api/errors.ts';
import type { ObjectKey } from '../../runtime/api/object-key.ts';
import { createServerCertificate, type ServerCertificate } from './server-certificate.ts';

/** A certificate in a Secret, and the authorities that its clients should trust. */
export interface StoredCertificate {
  readonly serving: ServerCertificate;
  /** PEM, the current one first, then earlier ones that are still valid. */
  readonly authorities: readonly string[];
  /** Milliseconds since 1970: when to renew the certificate. */
  readonly renewAt: number;
}

export interface StoredCertificateOptions {
  readonly client: ApiClient;
  /** The Secret that stores it. */
  readonly secret: ObjectKey;
  readonly names: readonly string[];
  /** Milliseconds for which a new certificate is valid. */
  readonly life: number;
}

const keys = { certificate: 'tls.crt', key: 'tls.key', authorities: 'ca.crt' } as const;
/** Clocks of API servers may be slow. Milliseconds. */
const maxClockSkew = 60 * 60 * 1000;
/** The fraction of a certificate's life after which a new one is created. */
const lifeUsed = 2 / 3;
/** Authorities kept besides the current one. */
const maxPredecessors = 2;

/**
 * Reads the certificate, or creates one and stores it before it is used. Processes that do so concurrently
 * all get the same one.
 * @throws ApiError
 */
export async function obtainCertificate(options: StoredCertificateOptions): Promise<StoredCertificate> {
  const { client, secret } = options;
  for (;;) {
    const object = await client.get(secrets, secret).catch(ignoreNotFound);
    const stored = object === undefined ? undefined : readStored(object, options.names);
    if (stored !== undefined && Date.now() < stored.renewAt) return stored;
    const data = await createData(options, stored);
    try {
      const written =
        object === undefined
          ? await client.create(secrets, { metadata: { ...secret }, type: 'Opaque', data })
          : await client.replace(secrets, { ...object, data });
      const created = readStored(written, options.names);
      if (created === undefined) throw new Error('the stored certificate cannot be used');
      return created;
    } catch (error) {
      // Another process was faster: its certificate will do.
      if (!isApiError(error, 'CONFLICT', 'ALREADY_EXISTS')) throw error;
    }
  }
}

/** Returns the content of a Secret, or undefined if it is not one of ours or for other names. */
function readStored({ data = {} }: SecretObject, names: readonly string[]): StoredCertificate | undefined {
  const [certificate = '', key = '', bundle = ''] = [keys.certificate, keys.key, keys.authorities].map(
    (name) => Buffer.from(data[name] ?? '', 'base64').toString('utf8'),
  );
  try {
    const parsed = new X509Certificate(certificate);
    const authorities = splitBundle(bundle).filter(isValid);
    const [authority] = authorities;
    if (
      authority === undefined ||
      !parsed.checkIssued(new X509Certificate(authority)) ||
      !parsed.checkPrivateKey(createPrivateKey(key)) ||
      !names.every((name) => isFor(parsed, name))
    ) {
      return undefined;
    }
    const from = parsed.validFromDate.getTime() + maxClockSkew;
    const renewAt = from + (parsed.validToDate.getTime() - from) * lifeUsed;
    return { serving: { certificate, key: new Secret(key) }, authorities, renewAt };
  } catch {
    return undefined;
  }
}

async function createData(
  { names, life }: StoredCertificateOptions,
  previous: StoredCertificate | undefined,
): Promise<Record<string, string>> {
  const now = Date.now();
  const { certificate, key, authority } = await createServerCertificate(
    names,
    new Date(now - maxClockSkew),
    new Date(now + life),
  );
  const authorities = [authority, ...(previous?.authorities ?? []).slice(0, maxPredecessors)];
  return {
    [keys.certificate]: encode(certificate),
    [keys.key]: encode(key.reveal()),
    [keys.authorities]: encode(authorities.join('')),
  };
}

function splitBundle(bundle: string): string[] {
  return bundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g) ?? [];
}

function isValid(certificate: string): boolean {
  return new X509Certificate(certificate).validToDate.getTime() > Date.now();
}

function isFor(certificate: X509Certificate, name: string): boolean {
  return (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined;
}

function encode(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}
