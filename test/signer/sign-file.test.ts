import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  chmodSync,
  existsSync,
  lstatSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Secret } from '../../src/shared/secret.ts';
import type { HashAlgorithm } from '../../src/signer/model/module.ts';
import { generateKeyPair } from '../../src/signer/keygen.ts';
import { loadSigner } from '../../src/signer/keys/load-signer.ts';
import type { Signer, SignerIdentifierForm } from '../../src/signer/cms/signer.ts';
import { signLocalModule, type SignLocalModuleOptions } from '../../src/signer/sign-file.ts';
import { bufferSource } from '../../src/shared/byte-source.ts';
import { createModuleSignature } from '../../src/signer/kmod/sign-module.ts';
import { runSignFile } from '../../src/signer/keys/sign-file-program.ts';
import { describeWith } from '../support/programs.ts';

const hello = join(import.meta.dirname, '../../fixtures/hello/hello.ko');
const forms: SignerIdentifierForm[] = ['issuer-and-serial', 'key-identifier'];
const defaults = { hash: 'sha256', identifierForm: 'issuer-and-serial' } as const;
let directory: string;
let module: string;
const files = (name: string) => ({
  key: join(directory, `${name}.key`),
  certificate: join(directory, `${name}.pem`),
});

async function makeSigner(name: string, bits: number): Promise<Signer> {
  await generateKeyPair({ commonName: `Müller & Sons ${name}`, organization: 'Acme', bits, ...files(name) });
  return loadSigner({ ...files(name), env: {} });
}

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'kmm-sign-test-'));
  module = join(directory, 'hello.ko');
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));
beforeEach(() => copyFileSync(hello, module));

describeWith(['sign-file'], 'the same bytes as the kernel tree gives', (programs) => {
  describe.each([2048, 3072, 4096])('RSA with %i bits', (bits) => {
    let signer: Signer;
    beforeAll(async () => {
      signer = await makeSigner(`parity-${bits}`, bits);
    });
    describe.each<HashAlgorithm>(['sha256', 'sha384', 'sha512'])('%s', (hash) => {
      test.each(forms)('%s', async (identifierForm) => {
        const { key, certificate } = files(`parity-${bits}`);
        const theirs = join(directory, 'theirs.ko');
        const options = identifierForm === 'key-identifier' ? ['-pk'] : ['-p'];
        execFileSync(programs['sign-file'], [...options, hash, key, certificate, module, theirs]);
        const detached = readFileSync(`${module}.p7s`);
        rmSync(`${module}.p7s`);
        await signLocalModule({ path: module, origin: { signer, identifierForm }, hash, detached: 'too' });
        expect(readFileSync(module).equals(readFileSync(theirs))).toBe(true);
        expect(readFileSync(`${module}.p7s`).equals(detached)).toBe(true);
      });
    });
  });

  test('run as a program it returns what it appends, and leaves nothing behind', async () => {
    const signer = await makeSigner('program', 2048);
    const temporaryDirectory = mkdtempSync(join(directory, 'temporary-'));
    const signature = await runSignFile(
      { program: programs['sign-file'], ...files('program') },
      defaults,
      bufferSource(readFileSync(hello)),
      temporaryDirectory,
    );
    await signLocalModule({
      path: module,
      origin: { signer, identifierForm: 'issuer-and-serial' },
      hash: 'sha256',
    });
    expect(Buffer.concat([readFileSync(hello), signature]).equals(readFileSync(module))).toBe(true);
    expect(readdirSync(temporaryDirectory)).toEqual([]);
  });

  test('a failure of the program is told in its own words', async () => {
    const signFile = { program: programs['sign-file'], key: '/nowhere', certificate: '/nowhere' };
    const run = runSignFile(signFile, defaults, bufferSource(readFileSync(hello)));
    await expect(run).rejects.toMatchObject({
      code: 'PROGRAM_FAILED',
      message: expect.stringContaining('/nowhere'),
    });
  });

  test('the program ends when it is cancelled, which is not its failure', async () => {
    const [program, started] = [join(directory, 'hangs'), join(directory, 'started')];
    writeFileSync(program, `#!/bin/sh\n: > ${started}\nexec tail -f /dev/null\n`, { mode: 0o755 });
    const abort = new AbortController();
    const signFile = { program, key: '/nowhere', certificate: '/nowhere' };
    const content = bufferSource(readFileSync(hello));
    const run = runSignFile(signFile, defaults, content, undefined, abort.signal);
    await expect.poll(() => existsSync(started), { timeout: 20_000 }).toBe(true);
    abort.abort();
    await expect(run).rejects.toMatchObject({ isCanceled: true });
  });

  test('an encrypted key is opened with the passphrase', async () => {
    const passphrase = new Secret('correct horse');
    const pair = { key: join(directory, 'locked.key'), certificate: join(directory, 'locked.pem') };
    await generateKeyPair({ commonName: 'locked', bits: 2048, ...pair, passphrase });
    const signature = await runSignFile(
      { program: programs['sign-file'], ...pair, passphrase },
      { hash: 'sha256', identifierForm: 'key-identifier' },
      bufferSource(readFileSync(hello)),
    );
    expect(signature.subarray(-28).toString()).toBe('~Module signature appended~\n');
  });
});

describe('a local module', () => {
  let signer: Signer;
  let sign: (options?: Partial<SignLocalModuleOptions>) => ReturnType<typeof signLocalModule>;
  beforeAll(async () => {
    signer = await makeSigner('local', 2048);
    sign = (options) =>
      signLocalModule({
        path: module,
        origin: { signer, identifierForm: 'issuer-and-serial' },
        hash: 'sha256',
        ...options,
      });
  });

  test('keeps its mode', async () => {
    chmodSync(module, 0o640);
    expect(await sign()).toMatchObject({ action: 'signed', sizeBefore: statSync(hello).size });
    expect(statSync(module).mode & 0o7777).toBe(0o640);
  });

  test('is left alone when it goes elsewhere', async () => {
    const destination = join(directory, 'signed.ko');
    await sign({ destination });
    expect(readFileSync(module).equals(readFileSync(hello))).toBe(true);
    const unsigned = readFileSync(destination).subarray(0, statSync(hello).size);
    expect(unsigned.equals(readFileSync(hello))).toBe(true);
    expect(readFileSync(destination).subarray(-28).toString()).toBe('~Module signature appended~\n');
  });

  test('behind a symbolic link stays behind it', async () => {
    const link = join(directory, 'link.ko');
    symlinkSync(module, link);
    const { sizeAfter } = await sign({ path: link });
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(statSync(module).size).toBe(sizeAfter);
  });

  test('signed with the same key again is unchanged', async () => {
    await sign();
    const before = readFileSync(module);
    expect(await sign()).toMatchObject({ action: 'unchanged' });
    expect(readFileSync(module).equals(before)).toBe(true);
  });

  test('gives the same bytes whatever signatures it had', async () => {
    const other = await makeSigner('other', 3072);
    await sign();
    const once = readFileSync(module);
    copyFileSync(hello, module);
    await sign({ origin: { signer: other, identifierForm: 'key-identifier' }, hash: 'sha512' });
    expect(await sign()).toMatchObject({ action: 'replaced' });
    expect(readFileSync(module).equals(once)).toBe(true);
  });

  test('signed twice with the same key gets one signature', async () => {
    await sign();
    const once = readFileSync(module);
    const again = await createModuleSignature({ signer, ...defaults }, { content: once });
    writeFileSync(module, Buffer.concat([once, again]));
    expect(await sign()).toMatchObject({ action: 'replaced' });
    expect(readFileSync(module).equals(once)).toBe(true);
  });

  test('with a signature can be kept, or refused', async () => {
    await sign({ hash: 'sha512' });
    const before = readFileSync(module);
    expect(await sign({ existing: 'keep' })).toMatchObject({ action: 'kept' });
    await expect(sign({ existing: 'fail' })).rejects.toMatchObject({ code: 'ALREADY_SIGNED' });
    expect(readFileSync(module).equals(before)).toBe(true);
  });

  test('is not touched when only the detached signature is wanted', async () => {
    await sign({ detached: 'instead' });
    expect(readFileSync(module).equals(readFileSync(hello))).toBe(true);
    const detached = readFileSync(`${module}.p7s`);
    await sign({ origin: { rawSignature: `${module}.p7s` } });
    const attached = readFileSync(module);
    expect(attached.subarray(statSync(hello).size, -40).equals(detached)).toBe(true);
    copyFileSync(hello, module);
    await sign();
    expect(readFileSync(module).equals(attached)).toBe(true);
  });

  test('that is none is refused and not touched', async () => {
    writeFileSync(module, '#!/bin/sh\n');
    await expect(sign()).rejects.toMatchObject({ code: 'NOT_A_MODULE' });
    expect(readFileSync(module, 'utf8')).toBe('#!/bin/sh\n');
  });

  test('that is not there is an error that names it', async () => {
    await expect(sign({ path: '/nowhere.ko' })).rejects.toMatchObject({
      code: 'FILE_ERROR',
      message: '/nowhere.ko cannot be read (ENOENT)',
    });
  });

  test('a raw signature that is no CMS is refused', async () => {
    await expect(sign({ origin: { rawSignature: hello } })).rejects.toMatchObject({ code: 'FILE_ERROR' });
    expect(readFileSync(module).equals(readFileSync(hello))).toBe(true);
  });
});
