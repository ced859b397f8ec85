import { execFileSync } from 'node:child_process';
import { createHash, publicDecrypt, verify } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import forge from 'node-forge';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Secret } from '../../../src/shared/secret.ts';
import {
  loadCertificates,
  loadSigner,
  type LoadSignerOptions,
} from '../../../src/signer/keys/load-signer.ts';
import { passphraseFrom } from '../../../src/signer/keys/reference.ts';
import { hashWarnings } from '../../../src/signer/cms/signer.ts';
import { describeWith } from '../../support/programs.ts';

/** An EC key whose padding is right when it is decrypted with `incorrect donkey`, which is not its passphrase. */
const seemsOpen = `-----BEGIN ENCRYPTED PRIVATE KEY-----
MIH0MF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBC4UH9rxDgPfwDGjHVA
//gfAgIIADAMBggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQbM6I2U9e4vx+lSRS
j/TLOQSBkLi1HFUDBwHMelWpLixTB9iPM+W3LW4AtU5HciBickUFyK2RCcZkEt7f
yUEdwMPzSCF2TWAttJJSJD/3gtk2N3gjkiWnGb0XDTxZd0QR18jJduxdxxy7OUtk
9Q+XOM58b2uklU7pfehUS9o16j04y76xD62tBygXdzWJy4z+wk+E8P0UzTzsn28d
xsFHfXC1fQ==
-----END ENCRYPTED PRIVATE KEY-----
`;
/** A sequence within a sequence, as node-forge reads it. */
interface NestedAsn1 {
  readonly value: readonly NestedAsn1[];
}

const passphrase = 'correct horse – bättery';
let directory: string;
const at = (name: string): string => join(directory, name);
const base64Of = (name: string) => Buffer.from(readFileSync(at(name)).toString('base64'));
const load = (options: Partial<LoadSignerOptions>) =>
  loadSigner({ key: at('rsa.pem'), certificate: at('rsa.crt'), env: {}, ...options });

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'kmm-sign-test-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describeWith(['openssl'], 'keys that openssl made', ({ openssl }) => {
  const run = (...options: string[]) =>
    execFileSync(openssl, options, {
      cwd: directory,
      env: { ...process.env, PASS: passphrase },
      stdio: 'pipe',
    });
  const certify = (key: string, certificate: string, ...options: string[]) =>
    run(
      'req',
      '-x509',
      '-new',
      '-key',
      key,
      '-subj',
      `/CN=${certificate}`,
      '-days',
      '30',
      '-out',
      certificate,
      ...options,
    );

  /** A container without encryption whose bags (of certificates, of keys) a test rearranges: openssl has one order. */
  function rearranged(change: (bags: forge.asn1.Asn1[], kind: 'certificates' | 'keys') => void): string {
    run('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=ca', '-out', 'ca.crt');
    const plain = [
      '-certfile',
      'ca.crt',
      '-keypbe',
      'NONE',
      '-certpbe',
      'NONE',
      '-nomac',
      '-passout',
      'pass:',
    ];
    run('pkcs12', '-export', '-inkey', 'rsa.pem', '-in', 'rsa.crt', ...plain, '-out', 'plain.p12');
    const { fromDer, toDer } = forge.asn1;
    const within = (outer: unknown, edit: (inner: forge.asn1.Asn1[]) => void): void => {
      const octets = (outer as NestedAsn1).value[1]?.value[0] as unknown as { value: string };
      const inner = fromDer(octets.value);
      edit(inner.value as forge.asn1.Asn1[]);
      octets.value = toDer(inner).getBytes();
    };
    const container = fromDer(readFileSync(at('plain.p12')).toString('binary'));
    within((container as unknown as NestedAsn1).value[1], (contents) => {
      for (const [index, content] of contents.entries())
        within(content, (bags) => change(bags, index === 0 ? 'certificates' : 'keys'));
    });
    writeFileSync(at('rearranged.p12'), toDer(container).getBytes(), 'binary');
    return at('rearranged.p12');
  }

  beforeAll(() => {
    run('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', 'rsa.pem');
    certify('rsa.pem', 'rsa.crt');
    for (const curve of ['P-256', 'P-384', 'P-521']) {
      run('genpkey', '-algorithm', 'EC', '-pkeyopt', `ec_paramgen_curve:${curve}`, '-out', `${curve}.pem`);
      certify(`${curve}.pem`, `${curve}.crt`);
    }
    run('genpkey', '-algorithm', 'ED25519', '-out', 'ed25519.pem');
    certify('ed25519.pem', 'ed25519.crt');
  });

  describe('RSA', () => {
    test.each<[string, string[]]>([
      ['PKCS #8 in PEM', ['pkcs8', '-topk8', '-nocrypt', '-in', 'rsa.pem', '-out', 'key']],
      ['PKCS #8 in DER', ['pkcs8', '-topk8', '-nocrypt', '-in', 'rsa.pem', '-outform', 'DER', '-out', 'key']],
      ['PKCS #1 in PEM', ['rsa', '-traditional', '-in', 'rsa.pem', '-out', 'key']],
      ['PKCS #1 in DER', ['rsa', '-traditional', '-in', 'rsa.pem', '-outform', 'DER', '-out', 'key']],
    ])('%s', async (_, options) => {
      run(...options);
      const { key, certificate, fingerprint, warnings } = await load({ key: at('key') });
      expect(key).toMatchObject({ algorithm: 'rsa', bits: 2048 });
      const digest = createHash('sha384').update('module').digest();
      const signature = await key.signDigest('sha384', digest);
      expect(verify('sha384', Buffer.from('module'), certificate.publicKey, signature)).toBe(true);
      const printed = run('x509', '-in', 'rsa.crt', '-noout', '-fingerprint', '-sha256').toString();
      expect(printed.replaceAll(':', '').toLowerCase()).toContain(fingerprint);
      expect(warnings).toEqual([]);
    });

    const encrypted: [string, string[]][] = [
      ['PKCS #8, PBES2', ['pkcs8', '-topk8', '-in', 'rsa.pem', '-passout', 'env:PASS', '-out', 'locked']],
      [
        'PKCS #8 in DER',
        ['pkcs8', '-topk8', '-in', 'rsa.pem', '-passout', 'env:PASS', '-outform', 'DER', '-out', 'locked'],
      ],
      [
        'PKCS #8, scrypt',
        ['pkcs8', '-topk8', '-scrypt', '-in', 'rsa.pem', '-passout', 'env:PASS', '-out', 'locked'],
      ],
      [
        'traditional PEM',
        ['rsa', '-traditional', '-aes256', '-in', 'rsa.pem', '-passout', 'env:PASS', '-out', 'locked'],
      ],
      [
        'PKCS #12',
        [
          'pkcs12',
          '-export',
          '-inkey',
          'rsa.pem',
          '-in',
          'rsa.crt',
          '-passout',
          'env:PASS',
          '-out',
          'locked',
        ],
      ],
      [
        'PKCS #12 of old',
        [
          'pkcs12',
          '-export',
          '-legacy',
          '-inkey',
          'rsa.pem',
          '-in',
          'rsa.crt',
          '-passout',
          'env:PASS',
          '-out',
          'locked',
        ],
      ],
    ];
    describe.each(encrypted)('encrypted: %s', (_, options) => {
      beforeAll(() => void run(...options));

      test.each(['KMM_SIGN_PASSWORD', 'KBUILD_SIGN_PIN'])('opens with %s', async (variable) => {
        const { key, certificate } = await load({ key: at('locked'), env: { [variable]: passphrase } });
        const signature = await key.signDigest('sha256', createHash('sha256').update('module').digest());
        expect(verify('sha256', Buffer.from('module'), certificate.publicKey, signature)).toBe(true);
      });

      test('says that the passphrase is wrong, and does not repeat it', async () => {
        const attempt = load({ key: at('locked'), env: { KMM_SIGN_PASSWORD: 'incorrect donkey' } });
        const error: unknown = await attempt.catch((thrown: unknown) => thrown);
        expect(error).toMatchObject({ code: 'WRONG_PASSPHRASE' });
        expect(inspect(error, { depth: 10 })).not.toContain('donkey');
      });

      test('says that there is no passphrase', async () => {
        await expect(load({ key: at('locked') })).rejects.toMatchObject({ code: 'WRONG_PASSPHRASE' });
      });
    });

    test('says so too of a passphrase that seems to open the key', async () => {
      writeFileSync(at('seems-open'), seemsOpen);
      const attempt = load({ key: at('seems-open'), env: { KMM_SIGN_PASSWORD: 'incorrect donkey' } });
      await expect(attempt).rejects.toMatchObject({ code: 'WRONG_PASSPHRASE' });
    });

    test('a passphrase file counts before the environment, its line end does not', async () => {
      run('pkcs8', '-topk8', '-in', 'rsa.pem', '-passout', 'env:PASS', '-out', 'locked');
      writeFileSync(at('passphrase'), `${passphrase}\n`);
      const provider = passphraseFrom({ env: { KMM_SIGN_PASSWORD: 'wrong' }, file: at('passphrase') });
      await expect(load({ key: at('locked'), passphrase: provider })).resolves.toBeDefined();
    });

    test('KMM_SIGN_PASSWORD counts before KBUILD_SIGN_PIN', async () => {
      const provider = passphraseFrom({ env: { KBUILD_SIGN_PIN: 'second', KMM_SIGN_PASSWORD: 'first' } });
      expect((await provider())?.reveal()).toBe('first');
    });

    test('PKCS #12 gives the certificate of its key, wherever it stands', async () => {
      const key = rearranged((bags, kind) => {
        if (kind === 'certificates') bags.reverse();
      });
      const [expected] = await loadCertificates(at('rsa.crt'));
      const { certificate } = await loadSigner({ key, env: {} });
      expect(certificate.raw.equals(expected.raw)).toBe(true);
    });

    test('PKCS #12 with two keys is refused', async () => {
      const key = rearranged((bags, kind) => {
        if (kind === 'keys') bags.push(...bags);
      });
      await expect(loadSigner({ key, env: {} })).rejects.toMatchObject({
        code: 'INVALID_KEY',
        message: `${key} contains 2 private keys, not one`,
      });
    });

    test('PKCS #12 brings its certificate, bytes unchanged', async () => {
      run(
        'pkcs12',
        '-export',
        '-inkey',
        'rsa.pem',
        '-in',
        'rsa.crt',
        '-passout',
        'env:PASS',
        '-out',
        'both.p12',
      );
      const { certificate } = await loadSigner({
        key: at('both.p12'),
        env: {},
        passphrase: async () => new Secret(passphrase),
      });
      const [expected] = await loadCertificates(at('rsa.crt'));
      expect(certificate.raw.equals(expected.raw)).toBe(true);
    });

    test('one PEM file may hold both, in any order', async () => {
      writeFileSync(
        at('both.pem'),
        Buffer.concat([readFileSync(at('rsa.crt')), readFileSync(at('rsa.pem'))]),
      );
      await expect(loadSigner({ key: at('both.pem'), env: {} })).resolves.toMatchObject({
        key: { bits: 2048 },
      });
    });

    test('many signatures at once are each of their own digest', async () => {
      const { key, certificate } = await load({});
      const digests = Array.from({ length: 300 }, (_, index) =>
        createHash('sha256').update(`${index}`).digest(),
      );
      const signatures = await Promise.all(digests.map((digest) => key.signDigest('sha256', digest)));
      const signed = signatures.map((signature) =>
        publicDecrypt(certificate.publicKey, signature).subarray(-32),
      );
      expect(signed).toEqual(digests);
    });
  });

  describe('elliptic curves', () => {
    describe.each(['P-256', 'P-384'])('%s', (curve) => {
      test.each<[string, string[]]>([
        ['PKCS #8', ['pkcs8', '-topk8', '-nocrypt', '-in', `${curve}.pem`, '-out', 'ec']],
        ['SEC 1', ['ec', '-in', `${curve}.pem`, '-out', 'ec']],
        ['SEC 1 in DER', ['ec', '-in', `${curve}.pem`, '-outform', 'DER', '-out', 'ec']],
      ])('%s', async (_, options) => {
        run(...options);
        const { key, certificate, warnings } = await load({ key: at('ec'), certificate: at(`${curve}.crt`) });
        const digest = createHash('sha512').update('module').digest();
        const signature = await key.signDigest('sha512', digest);
        expect(verify('sha512', Buffer.from('module'), certificate.publicKey, signature)).toBe(true);
        // The same each time, as RSA is.
        expect((await key.signDigest('sha512', digest)).equals(signature)).toBe(true);
        expect(warnings).toEqual([expect.stringContaining('ECDSA')]);
        expect(hashWarnings(key, 'sha256')).toHaveLength(1);
        expect(hashWarnings(key, 'sha384')).toEqual([]);
      });
    });

    test('PKCS #12 with a curve', async () => {
      run(
        'pkcs12',
        '-export',
        '-inkey',
        'P-384.pem',
        '-in',
        'P-384.crt',
        '-passout',
        'env:PASS',
        '-out',
        'ec.p12',
      );
      const options = { key: at('ec.p12'), certificate: undefined, env: { KMM_SIGN_PASSWORD: passphrase } };
      expect(await load(options)).toMatchObject({ key: { algorithm: 'ecdsa', bits: 384 } });
    });
  });

  describe('what is refused', () => {
    test.each(['P-521', 'ed25519'])('a key that no module can be signed with: %s', async (name) => {
      const attempt = load({ key: at(`${name}.pem`), certificate: at(`${name}.crt`) });
      await expect(attempt).rejects.toMatchObject({ code: 'INVALID_KEY' });
    });

    test('a key of another certificate', async () => {
      await expect(load({ key: at('P-256.pem') })).rejects.toMatchObject({
        code: 'KEY_CERTIFICATE_MISMATCH',
      });
    });

    test.each<[string, Partial<LoadSignerOptions>, string]>([
      ['a key file that is missing', { key: '/nowhere.pem' }, 'INVALID_KEY'],
      ['a certificate that is missing', { certificate: '/nowhere.crt' }, 'INVALID_CERTIFICATE'],
      ['a variable that is not set', { key: 'env://NOTHING' }, 'INVALID_KEY'],
      ['a scheme that is not known', { key: 'awskms:///alias/x' }, 'INVALID_KEY'],
      ['a token', { key: 'pkcs11:token=x;object=y' }, 'INVALID_KEY'],
      ['a Secret without Kubernetes', { key: 'k8s://namespace/secret' }, 'INVALID_KEY'],
    ])('%s', async (_, options, code) => {
      await expect(load(options)).rejects.toMatchObject({ code });
    });

    test('a certificate in place of the key, and the other way round', async () => {
      await expect(load({ key: at('rsa.crt') })).rejects.toMatchObject({ code: 'INVALID_KEY' });
      await expect(load({ certificate: at('rsa.pem') })).rejects.toMatchObject({
        code: 'INVALID_CERTIFICATE',
      });
    });

    test('a key in DER without a certificate, which it is not taken for', async () => {
      run('pkey', '-in', 'rsa.pem', '-outform', 'DER', '-out', 'rsa.der');
      await expect(load({ key: at('rsa.der'), certificate: undefined })).rejects.toMatchObject({
        code: 'INVALID_CERTIFICATE',
        message: `${at('rsa.der')} contains no certificate`,
      });
    });

    test('a file without end', async () => {
      await expect(load({ key: '/dev/zero' })).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    });

    test('a key that is damaged, without its contents in the message', async () => {
      const pem = readFileSync(at('rsa.pem'), 'utf8');
      writeFileSync(at('damaged.pem'), pem.replace(/\n[A-Za-z0-9+/]{10}/, '\nAAAAAAAAAA'));
      const error: unknown = await load({ key: at('damaged.pem') }).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'INVALID_KEY' });
      expect(inspect(error, { depth: 10 })).not.toContain(pem.slice(100, 140));
    });
  });

  describe('references', () => {
    /** The ways in which people store a key or a certificate as text. */
    const stored: Readonly<Record<string, (name: string) => string>> = {
      PEM: (name) => readFileSync(at(name), 'utf8'),
      'PEM on one line, with \\n': (name) => readFileSync(at(name), 'utf8').trim().replaceAll('\n', '\\n'),
      'PEM with the line ends of Windows': (name) => readFileSync(at(name), 'utf8').replaceAll('\n', '\r\n'),
      'PEM in base64': (name) => readFileSync(at(name)).toString('base64'),
      'PEM in base64, in lines': (name) =>
        readFileSync(at(name)).toString('base64').replaceAll(/.{76}/g, '$&\n'),
      'PEM in base64, in lines on one line': (name) =>
        readFileSync(at(name)).toString('base64').replaceAll(/.{76}/g, '$&\\n'),
      'DER in base64': (name) => {
        run(name.endsWith('.crt') ? 'x509' : 'pkey', '-in', name, '-outform', 'DER', '-out', `${name}.der`);
        return readFileSync(at(`${name}.der`)).toString('base64');
      },
    };

    test.each(Object.entries(stored))('env:// holds %s', async (_, form) => {
      const env = { KEY: form('rsa.pem'), CERT: form('rsa.crt') };
      await expect(load({ key: 'env://KEY', certificate: 'env://CERT', env })).resolves.toBeDefined();
    });

    test.each(Object.entries(stored))('a file holds %s', async (_, form) => {
      writeFileSync(at('stored.key'), form('rsa.pem'));
      writeFileSync(at('stored.crt'), form('rsa.crt'));
      await expect(load({ key: at('stored.key'), certificate: at('stored.crt') })).resolves.toBeDefined();
    });

    test('a Secret holds a key that was encoded twice', async () => {
      const readSecret = { read: async () => ({ key: base64Of('rsa.pem'), cert: base64Of('rsa.crt') }) };
      await expect(
        load({ key: 'k8s://kmm/signing', certificate: 'k8s://kmm/signing', readSecret }),
      ).resolves.toBeDefined();
    });

    test.each(['', 'AAAA', 'no key', 'TUlJ', '\\n\\n'])('what holds no key is refused: %j', async (text) => {
      writeFileSync(at('nothing.key'), text);
      await expect(load({ key: at('nothing.key') })).rejects.toMatchObject({ code: 'INVALID_KEY' });
    });

    test.each([
      ['as KMM names them', 'k8s://kmm/signing', 'k8s://kmm/signing', { key: 'rsa.pem', cert: 'rsa.crt' }],
      [
        'as TLS Secrets name them',
        'k8s://kmm/signing',
        'k8s://kmm/signing',
        { 'tls.key': 'rsa.pem', 'tls.crt': 'rsa.crt' },
      ],
      ['by name', 'k8s://kmm/signing/k', 'k8s://kmm/signing/c', { k: 'rsa.pem', c: 'rsa.crt' }],
    ])('k8s:// finds the values of a Secret %s', async (_, key, certificate, values) => {
      const asked: string[] = [];
      const readSecret = {
        async read(namespace: string, name: string) {
          asked.push(`${namespace}/${name}`);
          return Object.fromEntries(
            Object.entries(values).map(([entry, file]) => [entry, readFileSync(at(file))]),
          );
        },
      };
      await expect(load({ key, certificate, readSecret })).resolves.toBeDefined();
      expect(asked).toEqual(['kmm/signing', 'kmm/signing']);
    });

    test('what every object has is not a key of a Secret', async () => {
      const readSecret = { read: async () => ({ other: Buffer.from('private') }) };
      const attempt = load({ key: 'k8s://kmm/signing/constructor', readSecret });
      await expect(attempt).rejects.toMatchObject({
        code: 'INVALID_KEY',
        message: 'The Secret kmm/signing has no key constructor',
      });
    });

    test('a Secret without the key tells which keys it has', async () => {
      const readSecret = { read: async () => ({ other: Buffer.from('private') }) };
      const attempt = load({ key: 'k8s://kmm/signing', readSecret });
      await expect(attempt).rejects.toMatchObject({ code: 'INVALID_KEY', facts: { keys: ['other'] } });
    });
  });

  function makeRsa(bits: number): { key: string; certificate: string } {
    run('genpkey', '-algorithm', 'RSA', '-pkeyopt', `rsa_keygen_bits:${bits}`, '-out', 'odd.pem');
    certify('odd.pem', 'odd.crt');
    return { key: at('odd.pem'), certificate: at('odd.crt') };
  }

  describe('warnings', () => {
    test.each<[string, string[], RegExp]>([
      ['no digitalSignature', ['-addext', 'keyUsage=critical,keyCertSign'], /digitalSignature/],
      [
        'expired',
        ['-not_before', '20200101000000Z', '-not_after', '20200201000000Z'],
        /expired on 2020-02-01/,
      ],
      [
        'not yet valid',
        ['-not_before', '20900101000000Z', '-not_after', '20910101000000Z'],
        /before 2090-01-01/,
      ],
    ])('%s', async (name, options, expected) => {
      const dates = options[0] === '-not_before';
      if (dates) {
        // `openssl req` of 3.0 has no such options; `openssl ca` sets dates.
        writeFileSync(
          at('ca.cnf'),
          '[ca]\ndefault_ca=d\n[d]\ndatabase=index\nrand_serial=yes\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n',
        );
        writeFileSync(at('index'), '');
        run('req', '-new', '-key', 'rsa.pem', '-subj', `/CN=${name}`, '-out', 'request');
        const [, from = '', , to = ''] = options;
        run(
          'ca',
          '-config',
          'ca.cnf',
          '-selfsign',
          '-keyfile',
          'rsa.pem',
          '-in',
          'request',
          '-batch',
          '-notext',
          '-startdate',
          from,
          '-enddate',
          to,
          '-out',
          'warned.crt',
        );
      } else {
        certify('rsa.pem', 'warned.crt', ...options);
      }
      const { warnings } = await load({ certificate: at('warned.crt') });
      expect(warnings).toEqual([expect.stringMatching(expected)]);
    });

    test('RSA with 1024 bits', async () => {
      const { warnings } = await load(makeRsa(1024));
      expect(warnings).toEqual([expect.stringContaining('1024 bits')]);
    });

    test.each([2560, 5120])('are not enough for RSA with %i bits: kernels do not load it', async (bits) => {
      await expect(load(makeRsa(bits))).rejects.toMatchObject({
        code: 'INVALID_KEY',
        message: expect.stringContaining(`${bits} bits`),
      });
    });
  });

  test('a bundle gives all its certificates', async () => {
    writeFileSync(
      at('bundle'),
      ['rsa', 'P-256', 'ed25519'].map((name) => readFileSync(at(`${name}.crt`), 'utf8')).join('text\n'),
    );
    const certificates = await loadCertificates(at('bundle'));
    expect(certificates.map(({ subject }) => subject)).toEqual([
      'CN=rsa.crt',
      'CN=P-256.crt',
      'CN=ed25519.crt',
    ]);
  });
});
