import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { requireProgram } from '../support/programs.ts';

/** A key pair as the documents make it. */
export interface KeyPair {
  /** PEM file. */
  readonly key: string;
  /** DER file. */
  readonly certificate: string;
  readonly x509: X509Certificate;
}

const configuration = `[ req ]
default_bits = 2048
distinguished_name = req_distinguished_name
prompt = no
x509_extensions = myexts

[ req_distinguished_name ]
O = Example
CN = Example kernel module signing key

[ myexts ]
basicConstraints=critical,CA:FALSE
keyUsage=digitalSignature
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
`;

/** Runs the command of "Adding the keys for secureboot" in a folder. */
export async function makeKeyPair(folder: string): Promise<KeyPair> {
  const at = (name: string): string => join(folder, name);
  await writeFile(at('configuration_file.config'), configuration);
  const key = at('my_signing_key.priv');
  const certificate = at('my_signing_key_pub.der');
  const config = at('configuration_file.config');
  const command = `req -x509 -new -nodes -utf8 -sha256 -days 36500 -batch -outform DER`.split(' ');
  const files = ['-config', config, '-out', certificate, '-keyout', key];
  await promisify(execFile)(requireProgram('openssl'), [...command, ...files]);
  return { key, certificate, x509: new X509Certificate(await readFile(certificate)) };
}
