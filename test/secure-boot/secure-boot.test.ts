import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { HashAlgorithm } from '../../src/signer/model/module.ts';
import { generateKeyPair } from '../../src/signer/keygen.ts';
import { loadSigner } from '../../src/signer/keys/load-signer.ts';
import type { Signer, SignerIdentifierForm } from '../../src/signer/cms/signer.ts';
import { packModule } from '../../src/signer/kmod/compression.ts';
import { createModuleSignature } from '../../src/signer/kmod/sign-module.ts';
import { buildToolsPrograms, builtModule } from '../end-to-end/build-tools.ts';
import { describeWith } from '../support/programs.ts';
import { type LoadResult, loadUnderSecureBoot } from './load-under-secure-boot.ts';
import { modulesOfSignedImages } from './signed-image.ts';

let hello: Buffer;

interface Wanted {
  readonly signer: Signer;
  readonly hash?: HashAlgorithm;
  readonly identifierForm?: SignerIdentifierForm;
}

async function signed({
  signer,
  hash = 'sha256',
  identifierForm = 'issuer-and-serial',
}: Wanted): Promise<Buffer> {
  const digest = createHash(hash).update(hello).digest();
  return Buffer.concat([hello, await createModuleSignature({ signer, hash, identifierForm }, { digest })]);
}

/** The module with another licence than the one that was signed. */
function tamper(module: Buffer | undefined): Buffer {
  if (module === undefined) throw new Error('the image has no such module');
  const copy = Buffer.from(module);
  copy.write('K', copy.indexOf('license=GPL'));
  return copy;
}

describeWith(
  [...buildToolsPrograms, 'qemu-system-x86_64', 'openssl', 'xz', 'zstd', 'gzip'],
  'a kernel under Secure Boot',
  (programs) => {
    let directory: string;
    let results: Map<string, LoadResult>;

    beforeAll(async () => {
      directory = mkdtempSync(join(tmpdir(), 'kmm-sign-test-'));
      hello = await builtModule();
      const [small, large, stranger] = await Promise.all([
        makeSigner('small', 2048),
        makeSigner('large', 4096),
        makeSigner('stranger', 2048),
      ]);
      const elliptic = await makeEllipticSigner();
      const good = await signed({ signer: small });
      const fromImages = await modulesOfSignedImages({
        directory,
        module: hello,
        xz: programs.xz,
        enrolled: small,
        stranger,
      });
      const fromImage = new Map(fromImages.map(({ name, bytes }) => [name, bytes]));
      const unpackers = { xz: programs.xz, gzip: programs.gzip, zstd: programs.zstd };
      const repacked = (['xz', 'gzip', 'zstd'] as const).map(async (compression) => ({
        name: `packed with ${compression}`,
        bytes: execFileSync(unpackers[compression], ['-dc'], { input: await packModule(good, compression) }),
      }));
      const modules = [
        { name: 'RSA-2048 sha256', bytes: good },
        { name: 'RSA-4096 sha256', bytes: await signed({ signer: large }) },
        { name: 'RSA-4096 sha512', bytes: await signed({ signer: large, hash: 'sha512' }) },
        { name: 'RSA-2048 sha384', bytes: await signed({ signer: small, hash: 'sha384' }) },
        { name: 'key identifier', bytes: await signed({ signer: small, identifierForm: 'key-identifier' }) },
        ...(await Promise.all(repacked)),
        { name: 'unsigned', bytes: hello },
        { name: 'tampered', bytes: tamper(good) },
        { name: 'not enrolled', bytes: await signed({ signer: stranger }) },
        { name: 'cut short', bytes: good.subarray(0, -1) },
        { name: 'ECDSA', bytes: await signed({ signer: elliptic, hash: 'sha384' }) },
        ...fromImages,
        ...['rewrite: plain', 'append: packed'].map((name) => ({
          name: `${name}, then tampered`,
          bytes: tamper(fromImage.get(name)),
        })),
      ];
      const certificates = [small, large, elliptic].map(({ certificate }) => certificate);
      const loaded = await loadUnderSecureBoot({ modules, certificates });
      results = new Map(loaded.map((result) => [result.name, result]));
    }, 600_000);
    afterAll(() => rmSync(directory, { recursive: true, force: true }));

    async function makeSigner(name: string, bits: number): Promise<Signer> {
      const files = { key: join(directory, `${name}.key`), certificate: join(directory, `${name}.pem`) };
      await generateKeyPair({ commonName: `Secure Boot ${name}`, bits, ...files });
      return loadSigner({ ...files, env: {} });
    }

    async function makeEllipticSigner(): Promise<Signer> {
      const files = { key: join(directory, 'elliptic.key'), certificate: join(directory, 'elliptic.pem') };
      const curve = [
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-384',
        '-nodes',
        '-subj',
        '/CN=elliptic',
      ];
      execFileSync(
        programs.openssl,
        ['req', '-x509', ...curve, '-keyout', files.key, '-out', files.certificate],
        {
          stdio: 'ignore',
        },
      );
      expect(new X509Certificate(readFileSync(files.certificate)).publicKey.asymmetricKeyType).toBe('ec');
      return loadSigner({ ...files, env: {} });
    }

    test.each([
      'RSA-2048 sha256',
      'RSA-4096 sha256',
      'RSA-4096 sha512',
      'RSA-2048 sha384',
      'key identifier',
      'packed with xz',
      'packed with gzip',
      'packed with zstd',
    ])('loads a module signed by an enrolled key: %s', (name) => {
      // Out of tree, and not the E of an unsigned module.
      expect(results.get(name)).toMatchObject({ loaded: true, error: null, taint: 'O' });
      expect(results.get(name)?.log).toContain('hello: greetings, world');
    });

    test.each(['rewrite: plain', 'rewrite: packed', 'append: plain', 'append: packed'])(
      'loads a module of an image that was signed in the registry: %s',
      (name) => {
        expect(results.get(name)).toMatchObject({ loaded: true, error: null, taint: 'O' });
        expect(results.get(name)?.log).toContain('hello: greetings, world');
      },
    );

    test.each([
      ['source: plain', 'Loading of unsigned module is rejected'],
      ['source: packed', 'Loading of unsigned module is rejected'],
      ['stranger: plain', 'Loading of module with unavailable key is rejected'],
      ['stranger: packed', 'Loading of module with unavailable key is rejected'],
      ['rewrite: plain, then tampered', ''],
      ['append: packed, then tampered', ''],
    ])('refuses a module of an image: %s', (name, message) => {
      expect(results.get(name)).toMatchObject({ loaded: false, error: 'EKEYREJECTED' });
      expect(results.get(name)?.log).toContain(message);
    });

    test.each([
      ['unsigned', 'Loading of unsigned module is rejected'],
      ['not enrolled', 'Loading of module with unavailable key is rejected'],
      ['cut short', 'Loading of unsigned module is rejected'],
      ['tampered', ''],
      // Debian 12's kernel is built without ECDSA: the key is not even loaded.
      ['ECDSA', 'Loading of module with unavailable key is rejected'],
    ])('refuses a module: %s', (name, message) => {
      expect(results.get(name)).toMatchObject({ loaded: false, error: 'EKEYREJECTED' });
      expect(results.get(name)?.log).toContain(message);
    });
  },
);
