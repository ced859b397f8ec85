import { execFileSync } from 'node:child_process';
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A key with its certificate, made by openssl. */
export interface VariantKey {
  readonly key: KeyObject;
  readonly certificate: X509Certificate;
}

export type VariantKeys = Readonly<Record<(typeof names)[number], VariantKey>>;

const names = [
  'trusted',
  'stranger',
  'authority',
  'leaf',
  'bareLeaf',
  'forgedLeaf',
  'middle',
  'deepLeaf',
  'elliptic',
  'ellipticStranger',
  'edwards',
  'long',
  'odd',
  'byteShort',
  'bitShort',
  'short',
  'sha1Signed',
] as const;

const enrolled = [
  'trusted',
  'authority',
  'elliptic',
  'long',
  'odd',
  'byteShort',
  'bitShort',
  'short',
  'sha1Signed',
] as const;

/** Those that the machine has as Machine Owner Keys. */
export function enrolledCertificates(keys: VariantKeys): X509Certificate[] {
  return enrolled.map((name) => keys[name].certificate);
}

const identifier = 'subjectKeyIdentifier=01:02:03:04:05:06:07:08';

/** Makes the keys of the variants in a folder. */
export function makeVariantKeys(openssl: string, directory: string): VariantKeys {
  const run = (...options: string[]) => execFileSync(openssl, options, { cwd: directory, stdio: 'pipe' });
  writeFileSync(join(directory, 'plain.cnf'), '[req]\ndistinguished_name=name\n[name]\n');
  const make = (name: string, algorithm: readonly string[], ...options: string[]): VariantKey => {
    const files = ['-keyout', `${name}.key`, '-out', `${name}.pem`];
    const subject = ['-subj', `/O=Variants/CN=${name}`];
    run('req', '-x509', '-nodes', '-newkey', ...algorithm, ...subject, ...files, ...options);
    const read = (ending: string) => readFileSync(join(directory, `${name}.${ending}`));
    return { key: createPrivateKey(read('key')), certificate: new X509Certificate(read('pem')) };
  };
  const withoutExtensions = ['-config', 'plain.cnf'];
  const linked = [...withoutExtensions, '-addext', 'authorityKeyIdentifier=keyid'];
  const authority = make('authority', rsa(), ...withoutExtensions, '-addext', identifier);
  // An authority of the same name and key identifier that nobody trusts.
  make('forger', rsa(), ...withoutExtensions, '-subj', '/O=Variants/CN=authority', '-addext', identifier);
  const middle = make('middle', rsa(), ...under('authority'), '-addext', 'basicConstraints=critical,CA:TRUE');
  return {
    trusted: make('trusted', rsa()),
    stranger: make('stranger', rsa()),
    authority,
    leaf: make('leaf', rsa(), ...under('authority'), ...linked, '-addext', 'subjectKeyIdentifier=0a:0b:0c'),
    bareLeaf: make('bareLeaf', rsa(), ...under('authority'), ...withoutExtensions),
    forgedLeaf: make('forgedLeaf', rsa(), ...under('forger'), ...linked),
    middle,
    deepLeaf: make('deepLeaf', rsa(), ...under('middle')),
    elliptic: make('elliptic', curve('P-384')),
    ellipticStranger: make('ellipticStranger', curve('P-256')),
    edwards: make('edwards', ['ed25519']),
    long: make('long', rsa(5120)),
    odd: make('odd', rsa(2560)),
    byteShort: make('byteShort', rsa(2040)),
    bitShort: make('bitShort', rsa(2047)),
    short: make('short', rsa(1024)),
    sha1Signed: make('sha1Signed', rsa(), '-sha1'),
  };
}

function rsa(bits = 2048): string[] {
  return [`rsa:${bits}`];
}

function curve(name: string): string[] {
  return ['ec', '-pkeyopt', `ec_paramgen_curve:${name}`];
}

function under(name: string): string[] {
  return ['-CA', `${name}.pem`, '-CAkey', `${name}.key`];
}
