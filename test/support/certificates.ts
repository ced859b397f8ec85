import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { requireProgram } from './programs.ts';

const run = promisify(execFile);

/** A certificate and its private key, as PEM files. */
export interface CertificateFiles {
  readonly certificate: string;
  readonly key: string;
}

/** A certificate authority that tests trust. */
export interface TestAuthority extends CertificateFiles {
  /** Issues a certificate for a TLS server. @default names 127.0.0.1, ::1 and localhost */
  issueServer(name: string, alternativeNames?: string): Promise<CertificateFiles>;
  /** Issues a certificate for a TLS client. */
  issueClient(name: string): Promise<CertificateFiles>;
}

/** Names of this machine. */
export const loopback = 'IP:127.0.0.1,IP:::1,DNS:localhost';

/** Creates a certificate authority in a directory, with the openssl program. */
export async function createAuthority(folder: string): Promise<TestAuthority> {
  await mkdir(folder, { recursive: true });
  const authority = await selfSigned(folder);
  const issue = (name: string, extensions: readonly string[]): Promise<CertificateFiles> =>
    issueFrom({ folder, authority, name, extensions });
  return {
    ...authority,
    issueServer: (name, alternativeNames = loopback) =>
      issue(name, [`subjectAltName=${alternativeNames}`, 'extendedKeyUsage=serverAuth']),
    issueClient: (name) => issue(name, ['extendedKeyUsage=clientAuth']),
  };
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc'];

async function selfSigned(folder: string): Promise<CertificateFiles> {
  const files = { certificate: join(folder, 'ca.crt'), key: join(folder, 'ca.key') };
  await run(
    requireProgram('openssl'),
    [
      ['req', '-x509', ...newKey, '-days', '2', '-subj', '/CN=kmm-sign test authority'],
      ['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
      ['-keyout', files.key, '-out', files.certificate],
    ].flat(),
  );
  return files;
}

interface IssueOptions {
  readonly folder: string;
  readonly authority: CertificateFiles;
  readonly name: string;
  readonly extensions: readonly string[];
}

async function issueFrom({ folder, authority, name, extensions }: IssueOptions): Promise<CertificateFiles> {
  const openssl = requireProgram('openssl');
  const path = (extension: string): string => join(folder, `${name}.${extension}`);
  const files = { certificate: path('crt'), key: path('key') };
  await writeFile(path('ext'), ['basicConstraints=CA:FALSE', ...extensions, ''].join('\n'));
  await run(openssl, ['req', ...newKey, '-subj', `/CN=${name}`, '-keyout', files.key, '-out', path('csr')]);
  await run(
    openssl,
    [
      ['x509', '-req', '-in', path('csr'), '-CA', authority.certificate, '-CAkey', authority.key],
      ['-CAcreateserial', '-days', '2', '-sha256', '-extfile', path('ext'), '-out', files.certificate],
    ].flat(),
  );
  return files;
}
