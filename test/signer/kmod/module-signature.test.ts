import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { HashAlgorithm } from '../../../src/signer/hash.ts';
import { loadSigner } from '../../../src/signer/keys/load-signer.ts';
import type { SignerIdentifierForm } from '../../../src/signer/keys/signer.ts';
import { createModuleSignature, moduleSignatureSize } from '../../../src/signer/kmod/module-signature.ts';

const signFile = '/usr/lib/linux-kbuild-6.1/scripts/sign-file';
let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'kmm-sign-test-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe.each([2048, 3072, 4096])('RSA with %i bits', (bits) => {
  beforeAll(() => {
    execFileSync('openssl', [
      ...[
        'req',
        '-x509',
        '-newkey',
        `rsa:${bits}`,
        '-nodes',
        '-days',
        '30',
        '-subj',
        '/O=Äcme/CN=module signing',
      ],
      ...['-keyout', join(directory, `${bits}.key`), '-out', join(directory, `${bits}.pem`)],
    ]);
  });
  describe.each<HashAlgorithm>(['sha256', 'sha384', 'sha512'])('%s', (hash) => {
    test.each<SignerIdentifierForm>(['issuer-and-serial', 'key-identifier'])(
      'byte for byte as sign-file: %s',
      async (identifierForm) => {
        const files = { key: join(directory, `${bits}.key`), certificate: join(directory, `${bits}.pem`) };
        const module = randomBytes(5000);
        const path = join(directory, 'module.ko');
        writeFileSync(path, module);
        execFileSync(signFile, [
          ...(identifierForm === 'key-identifier' ? ['-k'] : []),
          ...[hash, files.key, files.certificate, path],
        ]);
        const signer = await loadSigner({ ...files, env: {} });
        const options = { signer, hash, identifierForm };
        const digest = createHash(hash).update(module).digest();
        const signature = await createModuleSignature({ ...options, digest });
        expect(Buffer.concat([module, signature]).equals(readFileSync(path))).toBe(true);
        expect(moduleSignatureSize(options)).toBe(signature.length);
      },
    );
  });
});
