import { execFile, execFileSync } from 'node:child_process';
import { createHash, randomBytes, X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual, promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bufferSource, type ByteSource, fileSource, sliceSource } from '../../../src/shared/byte-source.ts';
import type { Signer } from '../../../src/signer/cms/signer.ts';
import { generateKeyPair } from '../../../src/signer/keygen.ts';
import { loadSigner } from '../../../src/signer/keys/load-signer.ts';
import { analyzeModule } from '../../../src/signer/kmod/analyze-module.ts';
import {
  detectModuleCompression,
  isModuleName,
  packModule,
  unpackModule,
} from '../../../src/signer/kmod/compression.ts';
import { readModuleInfo } from '../../../src/signer/kmod/module-info.ts';
import { createModuleSignature, decideSignAction } from '../../../src/signer/kmod/sign-module.ts';
import { encodeTrailer, readModuleLayout } from '../../../src/signer/kmod/trailer.ts';
import { verifyModule } from '../../../src/signer/kmod/verify-module.ts';
import { SignerError } from '../../../src/signer/model/errors.ts';
import type { ModuleCompression } from '../../../src/signer/model/module.ts';
import { unpackedPackagePath } from '../../secure-boot/packages.ts';
import { kernelRelease } from '../../support/debian-kernel.ts';
import { describeWith, requireAll } from '../../support/programs.ts';

const helloPath = join(import.meta.dirname, '../../../fixtures/hello/hello.ko');
const hello = readFileSync(helloPath);
const damaged = { code: 'DAMAGED_MODULE' };
let directory: string;
let signer: Signer;
let stranger: Signer;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'kmm-sign-test-'));
  const make = async (name: string) => {
    const files = { key: join(directory, `${name}.key`), certificate: join(directory, `${name}.pem`) };
    await generateKeyPair({ commonName: name, bits: 2048, ...files });
    return loadSigner({ ...files, env: {} });
  };
  [signer, stranger] = await Promise.all([make('signer'), make('stranger')]);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function append(module: Buffer, by: Signer = signer): Promise<Buffer> {
  const digest = createHash('sha256').update(module).digest();
  const method = { signer: by, hash: 'sha256', identifierForm: 'issuer-and-serial' } as const;
  return Buffer.concat([module, await createModuleSignature(method, { digest })]);
}

async function collect(source: ByteSource): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of source.stream(10, 4000)) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** A signed module with one word of its trailer's struct changed. */
function withField(signed: Buffer, offset: number, value: number): Buffer {
  signed.writeUInt32BE(value, signed.length - 40 + offset);
  return signed;
}

function stacked(times: number): Buffer {
  const empty = Buffer.from([0x30, 0]);
  return Buffer.concat(Array.from({ length: times }, () => [empty, encodeTrailer(empty.length)]).flat());
}

function readCertificate(name: string): X509Certificate {
  return new X509Certificate(readFileSync(join(directory, name)));
}

/** Options of openssl that name a signer. */
function signedBy(name: string, key = name): string[] {
  return ['-signer', `${name}.pem`, '-inkey', `${key}.key`];
}

/** Whatever the bytes, a reader gives a result or one of our errors. */
async function outcome(read: () => Promise<unknown>): Promise<'read' | 'refused'> {
  try {
    await read();
    return 'read';
  } catch (error) {
    if (error instanceof SignerError && ['DAMAGED_MODULE', 'LIMIT_EXCEEDED'].includes(error.code))
      return 'refused';
    throw error;
  }
}

describe('names', () => {
  test.each(['/lib/a.ko', 'a.ko.gz', 'a.ko.xz', 'a.ko.zst'])('%s is that of a module', (path) => {
    expect(isModuleName(path)).toBe(true);
  });
  test.each(['/lib/a.ko.bz2', 'a.o', 'a.ko.sig', 'ko', 'a.ko/b', 'a.KO'])('%s is not', (path) => {
    expect(isModuleName(path)).toBe(false);
  });
});

describe('sources', () => {
  test('a range of a file is read like a buffer', async () => {
    await using file = await fileSource(helloPath, { start: 100, size: 5000 });
    const buffer = bufferSource(hello.subarray(100, 5100));
    for (const [position, length] of [
      [0, 64],
      [4990, 100],
      [5000, 10],
      [6000, 1],
    ] as const) {
      expect((await file.read(position, length)).equals(await buffer.read(position, length))).toBe(true);
    }
    expect((await collect(file)).equals(await collect(buffer))).toBe(true);
    expect((await collect(sliceSource(file, 5, 3000))).equals(hello.subarray(115, 3105))).toBe(true);
  });
});

describe('where a module ends', () => {
  test('without a signature it is the end of the file', async () => {
    const expected = {
      contentSize: hello.length,
      signedSize: hello.length,
      signatures: 0,
      unremovable: null,
    };
    expect(await readModuleLayout(bufferSource(hello))).toEqual(expected);
  });

  test('all stacked signatures are found, and the last one covers the others', async () => {
    const once = await append(hello);
    const twice = await append(once, stranger);
    const layout = await readModuleLayout(bufferSource(await append(twice)));
    expect(layout).toEqual({
      contentSize: hello.length,
      signedSize: twice.length,
      signatures: 3,
      unremovable: null,
    });
  });

  test.each<[string, (signed: Buffer) => Buffer]>([
    ['a length beyond the file', (signed) => withField(signed, 8, 0x7fffffff)],
    ['a length of nothing', (signed) => withField(signed, 8, 0)],
    ['a length one too small', (signed) => withField(signed, 8, signed.readUInt32BE(signed.length - 32) - 1)],
    ['a length one too large', (signed) => withField(signed, 8, signed.readUInt32BE(signed.length - 32) + 1)],
    ['another identifier type', (signed) => withField(signed, 0, 0x00000300)],
    ['a hash in the struct', (signed) => withField(signed, 0, 0x00040200)],
    ['something in the padding', (signed) => withField(signed, 4, 1)],
    ['a trailer and nothing before', () => encodeTrailer(10).subarray(4)],
    ['the magic alone', (signed) => signed.subarray(-28)],
  ])('%s is damage', async (_, change) => {
    const module = change(Buffer.from(await append(hello)));
    await expect(readModuleLayout(bufferSource(module))).rejects.toMatchObject(damaged);
    expect(await verifyModule(bufferSource(module), [])).toMatchObject({
      state: 'damaged',
      problem: expect.any(String),
    });
  });

  test.each<[string, () => Buffer, string]>([
    ['more than anyone made', () => stacked(101), 'more than 100 signatures are appended'],
    [
      'one that cannot be read',
      () => withField(Buffer.concat([hello, Buffer.alloc(100), encodeTrailer(100)]), 0, 0x00000200),
      'an earlier signature in it cannot be read',
    ],
  ])('of earlier signatures, %s stays, and only replacing it is an error', async (_, make, unremovable) => {
    const module = await append(Buffer.concat([hello, make()]));
    const layout = await readModuleLayout(bufferSource(module));
    expect(layout.unremovable).toBe(unremovable);
    const verdict = await verifyModule(bufferSource(module), [signer.certificate]);
    expect(verdict.state).toBe('trusted');
    const method = { signer, hash: 'sha256', identifierForm: 'key-identifier' } as const;
    expect(() => decideSignAction({ layout, verdict }, method, 'replace', 'a.ko')).toThrow(unremovable);
    expect(decideSignAction({ layout, verdict }, method, 'keep', 'a.ko')).toBe('kept');
  });

  test.each([
    ['that is wanted', 'unchanged', {}],
    ['with another hash', 'replaced', { hash: 'sha512' }],
    ['that names its signer in another form', 'replaced', { identifierForm: 'key-identifier' }],
  ] as const)('one signature %s is %s', async (_, action, change) => {
    const module = bufferSource(await append(hello));
    const layout = await readModuleLayout(module);
    const verdict = await verifyModule(module, [signer.certificate]);
    const method = { signer, hash: 'sha256', identifierForm: 'issuer-and-serial', ...change } as const;
    const decide = () => decideSignAction({ layout, verdict }, method, 'replace', 'a.ko');
    expect(decide()).toBe(action);
  });

  test('one signature of somebody else is replaced, also when that certificate is trusted', async () => {
    const module = bufferSource(await append(hello, stranger));
    const layout = await readModuleLayout(module);
    const verdict = await verifyModule(module, [signer.certificate, stranger.certificate]);
    expect(verdict).toMatchObject({ state: 'trusted', certificateFingerprint: stranger.fingerprint });
    const method = { signer, hash: 'sha256', identifierForm: 'issuer-and-serial' } as const;
    expect(decideSignAction({ layout, verdict }, method, 'replace', 'a.ko')).toBe('replaced');
  });

  test.each([
    ['PGP', 0],
    ['X.509', 1],
  ])('a signature of the old type %s is named, and can be replaced', async (type, number) => {
    const trailer = encodeTrailer(20);
    trailer.set([1, 4, number, 4, 5]);
    const module = Buffer.concat([hello, Buffer.from('namekeyid'), Buffer.alloc(20, 7), trailer]);
    const verdict = await verifyModule(bufferSource(module), [signer.certificate]);
    expect(verdict).toMatchObject({ state: 'invalid', problem: expect.stringContaining(`old type ${type}`) });
    const layout = await readModuleLayout(bufferSource(module));
    expect(layout).toMatchObject({ contentSize: hello.length, signatures: 1, unremovable: null });
    const method = { signer, hash: 'sha256', identifierForm: 'key-identifier' } as const;
    expect(decideSignAction({ layout, verdict }, method, 'replace', 'a.ko')).toBe('replaced');
  });

  test('of any bytes is found or refused, and nothing else', async () => {
    const signed = await append(hello);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(600), fc.nat(255)), { maxLength: 5 }),
        fc.nat(60),
        async (edits, cut) => {
          const module = Buffer.from(signed.subarray(0, signed.length - (cut > 40 ? 0 : cut)));
          for (const [fromEnd, value] of edits) module[module.length - 1 - fromEnd] = value;
          expect(['read', 'refused']).toContain(await outcome(() => readModuleLayout(bufferSource(module))));
          const { state, layout } = await verifyModule(bufferSource(module), [signer.certificate]);
          // A CMS says some things that nothing depends on; the module and the signature's octets are not such.
          const same = [module, signed].map((bytes) => [
            bytes.subarray(0, hello.length),
            bytes.subarray(-296, -40),
          ]);
          expect(state === 'trusted' && layout?.contentSize === hello.length).toBe(
            state === 'trusted' && isDeepStrictEqual(same[0], same[1]),
          );
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('what a module says of itself', () => {
  test('a source that is not an ELF file says nothing', async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from('#!/bin/sh\n')]) {
      expect(await readModuleInfo(bufferSource(bytes))).toBeNull();
    }
  });

  test('a program is another kind of ELF file', async () => {
    const program = readFileSync(process.execPath).subarray(0, 4096);
    expect(await readModuleInfo(bufferSource(program))).toMatchObject({ kind: 'other', name: null });
  });

  test('one that is cut short is damaged, wherever the cut is', async () => {
    for (let length = 4; length < hello.length; length += 37) {
      await expect(readModuleInfo(bufferSource(hello.subarray(0, length)))).rejects.toMatchObject(damaged);
    }
  });

  test('of any bytes is read or refused, in bounded time', async () => {
    const edit = fc.tuple(
      fc.oneof(fc.nat(63), fc.integer({ min: hello.length - 2000, max: hello.length - 1 })),
      fc.nat(255),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 6 }), async (edits) => {
        const module = Buffer.from(hello);
        for (const [at, value] of edits) module[at] = value;
        expect(['read', 'refused']).toContain(await outcome(() => readModuleInfo(bufferSource(module))));
      }),
      { numRuns: 2000 },
    );
  });

  test.each<[string, boolean, boolean, number]>([
    ['s390x', true, false, 22],
    ['aarch64', true, true, 183],
    ['ppc64le', true, true, 21],
    ['arm', false, true, 40],
    ['ppc', false, false, 20],
    ['riscv64', true, true, 243],
    ['machine-4711', true, true, 4711],
  ])('of any width and byte order: %s', async (architecture, wide, little, machine) => {
    const module = makeElf({
      wide,
      little,
      machine,
      modinfo: 'license=GPL\0name=made\0version=7\0depends=a,b\0\0\0name=second\0',
    });
    expect(await readModuleInfo(bufferSource(module))).toEqual({
      kind: 'module',
      name: 'made',
      version: '7',
      vermagic: null,
      srcversion: null,
      depends: ['a', 'b'],
      architecture,
    });
  });

  test('with a table of one endless name for very many sections is read in bounded time', async () => {
    const entry = 64;
    const sections = 150_000;
    const names = Buffer.alloc(16 * 1024 * 1024, 'x');
    names[names.length - 1] = 0;
    const elf = Buffer.concat([Buffer.alloc(64), names, Buffer.alloc(sections * entry)]);
    elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
    elf.writeUInt16LE(1, 16);
    elf.writeBigUInt64LE(BigInt(64 + names.length), 40);
    elf.writeUInt16LE(entry, 58);
    const table = 64 + names.length;
    elf.writeBigUInt64LE(BigInt(sections), table + 32);
    elf.writeUInt32LE(3, table + 4);
    elf.writeBigUInt64LE(64n, table + 24);
    // The first section serves as count, names and their own index; its size cannot be both.
    expect(['read', 'refused']).toContain(await outcome(() => readModuleInfo(bufferSource(elf))));
    elf.writeUInt16LE(0xff00, 60);
    elf.writeBigUInt64LE(BigInt(names.length), table + 32);
    expect(await readModuleInfo(bufferSource(elf))).toMatchObject({ kind: 'object' });
  });

  test('with a section that reaches beyond the end is damaged', async () => {
    const options = { wide: true, little: true, machine: 62, modinfo: 'name=long\0' };
    const elf = makeElf(options);
    const size = elf.length - 2 * 64 + 32;
    elf.writeBigUInt64LE(BigInt(elf.length), size);
    await expect(readModuleInfo(bufferSource(elf))).rejects.toMatchObject(damaged);
    elf.writeBigUInt64LE(0xffff_ffff_ffff_fff0n, size);
    await expect(readModuleInfo(bufferSource(elf))).rejects.toMatchObject(damaged);
  });

  test('with its number of sections in the first of them', async () => {
    const module = makeElf({ wide: true, little: true, machine: 62, modinfo: 'name=many\0', extended: true });
    expect(await readModuleInfo(bufferSource(module))).toMatchObject({ name: 'many' });
  });
});

interface ElfOptions {
  readonly wide: boolean;
  readonly little: boolean;
  readonly machine: number;
  readonly modinfo: string;
  /** Count and index of the names in section 0, as with more than 65279 sections. */
  readonly extended?: boolean;
}

/** Writes an ELF relocatable file with the sections null, .modinfo and .shstrtab (System V gABI, chapter 4). */
function makeElf({ wide, little, machine, modinfo, extended = false }: ElfOptions): Buffer {
  const names = '\0.modinfo\0.shstrtab\0';
  const headerLength = wide ? 64 : 52;
  const entry = wide ? 64 : 40;
  const info = headerLength;
  const strings = info + modinfo.length;
  const table = strings + names.length;
  const elf = Buffer.alloc(table + 3 * entry);
  const half = (value: number, at: number) =>
    little ? elf.writeUInt16LE(value, at) : elf.writeUInt16BE(value, at);
  const word = (value: number, at: number) =>
    little ? elf.writeUInt32LE(value, at) : elf.writeUInt32BE(value, at);
  const address = (value: number, at: number) => {
    if (!wide) return word(value, at);
    return little ? elf.writeBigUInt64LE(BigInt(value), at) : elf.writeBigUInt64BE(BigInt(value), at);
  };
  elf.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, little ? 1 : 2, 1]);
  half(1, 16);
  half(machine, 18);
  address(table, wide ? 40 : 32);
  half(entry, headerLength - 6);
  half(extended ? 0 : 3, headerLength - 4);
  half(extended ? 0xffff : 2, headerLength - 2);
  elf.write(modinfo, info, 'latin1');
  elf.write(names, strings, 'latin1');
  const section = (index: number, name: number, type: number, offset: number, size: number, link = 0) => {
    const at = table + index * entry;
    word(name, at);
    word(type, at + 4);
    address(offset, at + (wide ? 24 : 16));
    address(size, at + (wide ? 32 : 20));
    word(link, at + (wide ? 40 : 24));
  };
  section(0, 0, 0, 0, extended ? 3 : 0, extended ? 2 : 0);
  section(1, 1, 1, info, modinfo.length);
  section(2, 10, 3, strings, names.length);
  return elf;
}

describe('the verdict', () => {
  test('is that of the last signature', async () => {
    const module = await append(await append(hello, stranger));
    const verdict = (...trusted: Signer[]) =>
      verifyModule(
        bufferSource(module),
        trusted.map(({ certificate }) => certificate),
      );
    expect(await verdict(signer)).toMatchObject({
      state: 'trusted',
      certificateFingerprint: signer.fingerprint,
    });
    expect(await verdict(stranger)).toMatchObject({ state: 'untrusted', certificateFingerprint: null });
    expect(await verdict()).toMatchObject({
      state: 'untrusted',
      problem: null,
      signature: { hash: 'sha256', keyAlgorithm: 'rsa' },
    });
  });

  test('and the digest to sign come from one analysis, however many signatures there are', async () => {
    const module = await append(await append(hello, stranger));
    const analysis = await analyzeModule(bufferSource(module), [signer.certificate]);
    expect(analysis).toMatchObject({ verdict: { state: 'trusted' }, layout: { signatures: 2 } });
    expect(await analysis?.contentDigest('sha256')).toEqual(createHash('sha256').update(hello).digest());
  });

  test('on a module without a signature', async () => {
    expect(await verifyModule(bufferSource(hello), [])).toMatchObject({ state: 'unsigned', signature: null });
  });

  test('on changed bytes', async () => {
    const module = await append(hello);
    module[1000] = (module[1000] ?? 0) ^ 1;
    expect(await verifyModule(bufferSource(module), [signer.certificate])).toMatchObject({
      state: 'invalid',
    });
    expect(await verifyModule(bufferSource(module), [stranger.certificate])).toMatchObject({
      state: 'untrusted',
    });
  });

  describeWith(['openssl'], 'on what openssl signed', ({ openssl }) => {
    const run = (...options: string[]) => execFileSync(openssl, options, { cwd: directory, stdio: 'pipe' });
    const signWith = (...options: string[]): Buffer => {
      writeFileSync(join(directory, 'content'), hello);
      run('cms', '-sign', '-binary', '-in', 'content', '-outform', 'DER', '-out', 'cms', ...options);
      const cms = readFileSync(join(directory, 'cms'));
      return Buffer.concat([hello, cms, encodeTrailer(cms.length)]);
    };

    beforeAll(() => {
      run(
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-subj',
        '/CN=ca',
        '-keyout',
        'ca.key',
        '-out',
        'ca.pem',
      );
      run(
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-subj',
        '/CN=leaf',
        '-keyout',
        'leaf.key',
        '-out',
        'leaf.pem',
        '-CA',
        'ca.pem',
        '-CAkey',
        'ca.key',
      );
    });

    // What the kernel does with each of these is in the Secure Boot findings: loads, or EKEYREJECTED, EMSGSIZE.
    test.each<[string, () => Buffer, string, string]>([
      [
        'no attributes, no certificate',
        () => signWith('-noattr', '-nocerts', ...signedBy('signer')),
        'signer',
        'trusted',
      ],
      ['its certificate beside it', () => signWith('-noattr', ...signedBy('signer')), 'signer', 'trusted'],
      ['a leaf under a trusted CA', () => signWith('-noattr', ...signedBy('leaf')), 'ca', 'trusted'],
      [
        'a leaf that is not there',
        () => signWith('-noattr', '-nocerts', ...signedBy('leaf')),
        'ca',
        'untrusted',
      ],
      [
        'two signers, one trusted',
        () => signWith('-noattr', '-nocerts', ...signedBy('stranger'), ...signedBy('signer')),
        'signer',
        'trusted',
      ],
      ['signed attributes', () => signWith('-nocerts', ...signedBy('signer')), 'signer', 'invalid'],
      ['content inside', () => signWith('-noattr', '-nodetach', ...signedBy('signer')), 'signer', 'invalid'],
      [
        'RSA-PSS',
        () => signWith('-noattr', ...signedBy('signer'), '-keyopt', 'rsa_padding_mode:pss'),
        'signer',
        'invalid',
      ],
      ['sha3', () => signWith('-noattr', '-md', 'sha3-256', ...signedBy('signer')), 'signer', 'invalid'],
    ])('%s', async (_, make, trusted, state) => {
      const verdict = await verifyModule(bufferSource(make()), [readCertificate(`${trusted}.pem`)]);
      expect(verdict.state).toBe(state);
      expect(verdict.problem === null).toBe(state === 'trusted');
    });

    const makeCertificate = (name: string, subject: string, files: string[], extension: string) => {
      const output = ['-out', `${name}.pem`, '-addext', extension];
      run('req', '-x509', '-nodes', '-config', 'plain.cnf', '-subj', subject, ...files, ...output);
    };

    test('a leaf that only claims to be of the CA', async () => {
      writeFileSync(join(directory, 'plain.cnf'), '[req]\ndistinguished_name=name\n[name]\n');
      // Two authorities of the same name and key identifier: nothing but the signature tells them apart.
      for (const issuer of ['fake', 'real']) {
        const newKey = ['-newkey', 'rsa:2048', '-keyout', `${issuer}.key`];
        makeCertificate(issuer, '/CN=plain', newKey, 'subjectKeyIdentifier=01:02:03:04');
        const under = ['-key', 'leaf.key', '-CA', `${issuer}.pem`, '-CAkey', `${issuer}.key`];
        makeCertificate(`${issuer}-leaf`, '/CN=leaf', under, 'authorityKeyIdentifier=keyid');
      }
      const states = ['real', 'fake'].map(async (issuer) => {
        const module = signWith('-noattr', ...signedBy(`${issuer}-leaf`, 'leaf'));
        return (await verifyModule(bufferSource(module), [readCertificate('real.pem')])).state;
      });
      expect(await Promise.all(states)).toEqual(['trusted', 'invalid']);
    });

    test('garbage in place of the CMS', async () => {
      const cms = randomBytes(300);
      cms.set([0x30, 0x82, 0x01, 0x28]);
      const module = Buffer.concat([hello, cms, encodeTrailer(cms.length)]);
      expect(await verifyModule(bufferSource(module), [signer.certificate])).toMatchObject({
        state: 'damaged',
      });
    });
  });
});

describeWith(['xz', 'gzip', 'zstd'], 'compression', (programs) => {
  const packed: [ModuleCompression, string][] = [
    ['gzip', programs.gzip],
    ['xz', programs.xz],
    ['zstd', programs.zstd],
  ];
  describe.each(packed)('%s', (compression, program) => {
    test('the program reads what we packed, always the same bytes', async () => {
      const module = await append(hello);
      const ours = await packModule(module, compression);
      expect(detectModuleCompression(ours)).toBe(compression);
      expect(execFileSync(program, ['-dc'], { input: ours }).equals(module)).toBe(true);
      expect((await packModule(module, compression)).equals(ours)).toBe(true);
      expect(ours.length).toBeLessThan(module.length);
    });

    test('we read what the program packed', async () => {
      // The last byte is a line feed: nothing may be taken off.
      const module = await append(hello);
      const theirs = execFileSync(program, ['-c'], { input: module });
      const analysis = await analyzeModule(bufferSource(theirs), [signer.certificate]);
      expect(analysis).toMatchObject({ compression, info: { name: 'hello' }, verdict: { state: 'trusted' } });
      expect(await analysis?.contentDigest('sha256')).toEqual(createHash('sha256').update(hello).digest());
    });

    test('one that unpacks to too much is refused', async () => {
      const bomb = execFileSync(program, ['-9', '-c'], { input: Buffer.alloc(64 * 1024 * 1024) });
      const unpack = unpackModule(bufferSource(bomb), compression, undefined, 1024 * 1024);
      await expect(unpack).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    });

    test('one that is cut short or garbled is damaged', async () => {
      const whole = await packModule(hello, compression);
      const garbled = Buffer.from(whole);
      garbled.fill(0x55, 40, 80);
      for (const bytes of [whole.subarray(0, -10), whole.subarray(0, 20), garbled]) {
        await expect(unpackModule(bufferSource(bytes), compression)).rejects.toMatchObject(damaged);
      }
    });
  });

  test.each<[ModuleCompression, string, (whole: Buffer) => Buffer]>([
    ['gzip', 'text', () => Buffer.from('more')],
    ['gzip', 'zeros', () => Buffer.alloc(16)],
    ['gzip', 'a second member', (whole) => whole],
    ['xz', 'text', () => Buffer.from('more')],
    ['zstd', 'text', () => Buffer.from('more')],
    ['zstd', 'zeros', () => Buffer.alloc(16)],
    ['zstd', 'a second frame', (whole) => whole],
  ])('%s data with %s behind them are damaged', async (compression, _, more) => {
    const whole = await packModule(hello, compression);
    const bytes = Buffer.concat([whole, more(whole)]);
    await expect(unpackModule(bufferSource(bytes), compression)).rejects.toMatchObject(damaged);
  });

  test('gzip data of two members whose checksums agree are damaged', async () => {
    // The CRC-32 of these four bytes is 0: that of them and a module is the module's.
    const neutral = Buffer.from('9d0ad96d', 'hex');
    expect(crc32(neutral)).toBe(0);
    const bytes = Buffer.concat([await packModule(neutral, 'gzip'), await packModule(hello, 'gzip')]);
    await expect(unpackModule(bufferSource(bytes), 'gzip')).rejects.toMatchObject(damaged);
  });

  test('gzip data after an empty member are damaged', async () => {
    const bytes = Buffer.concat([await packModule(Buffer.alloc(0), 'gzip'), await packModule(hello, 'gzip')]);
    await expect(unpackModule(bufferSource(bytes), 'gzip')).rejects.toMatchObject(damaged);
  });

  test('gzip data with a name, a comment, an extra field and a checksum of the header are read', async () => {
    const plain = await packModule(hello, 'gzip');
    const head = Buffer.from(plain.subarray(0, 10));
    head[3] = 0x1e;
    const fields = Buffer.concat([
      head,
      Buffer.from('03006b6d6d', 'hex'),
      Buffer.from('hello.ko\0a comment\0'),
    ]);
    const checksum = Buffer.alloc(2);
    checksum.writeUInt16LE(crc32(fields) & 0xffff);
    const bytes = Buffer.concat([fields, checksum, plain.subarray(10)]);
    // gzip itself takes the header.
    expect(execFileSync('gzip', ['-dc'], { input: bytes }).equals(hello)).toBe(true);
    const unpacked = await unpackModule(bufferSource(bytes), 'gzip');
    expect((await unpacked.read(0, unpacked.size)).equals(hello)).toBe(true);
  });

  test('zstd data in frames of every kind are read', async () => {
    const options = [['-1'], ['--check'], ['--no-check'], ['--no-content-size'], ['-19', '--long=24']];
    for (const input of [Buffer.alloc(300_000), Buffer.from('x'), hello, Buffer.alloc(0)]) {
      for (const option of options) {
        const bytes = execFileSync(programs.zstd, ['-c', ...option], { input });
        const unpacked = await unpackModule(bufferSource(bytes), 'zstd');
        expect((await unpacked.read(0, unpacked.size)).equals(input)).toBe(true);
      }
    }
  });

  test('xz data have the check and the dictionary that the kernel takes', async () => {
    const bytes = await packModule(hello, 'xz');
    // Stream flags: check type 1 is CRC32 (xz file format 1.2, section 2.1.1.2), protected by their own CRC32.
    expect([...bytes.subarray(6, 8)]).toEqual([0, 1]);
    expect(bytes.readUInt32LE(8)).toBe(crc32(bytes.subarray(6, 8)));
    writeFileSync(join(directory, 'list.xz'), bytes);
    const listed = execFileSync(programs.xz, ['--robot', '-lvv', join(directory, 'list.xz')], {
      encoding: 'utf8',
    });
    expect(listed).toContain('dict=1MiB');
    expect(listed).toContain('CRC32');
  });

  test('without xz the error says what to install', async () => {
    const path = process.env['PATH'];
    process.env['PATH'] = '/nowhere';
    try {
      const failure = { code: 'PROGRAM_FAILED', hint: expect.stringContaining('xz-utils') };
      await expect(packModule(hello, 'xz')).rejects.toMatchObject(failure);
      const start = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]);
      await expect(unpackModule(bufferSource(start), 'xz')).rejects.toMatchObject(failure);
    } finally {
      process.env['PATH'] = path;
    }
  });
});

const debianModules = join(
  unpackedPackagePath(`linux-image-${kernelRelease}`),
  'lib/modules',
  kernelRelease,
  'kernel',
);
const absent = !existsSync(debianModules) && !requireAll;

describeWith(['modinfo'], 'as modinfo has it', ({ modinfo }) => {
  const run = promisify(execFile);
  /** What modinfo says of a module, and what we say, in the same form. */
  async function both(path: string): Promise<[unknown, unknown]> {
    const { stdout } = await run(modinfo, ['-0', path]);
    const fields = stdout.split('\0').map((line) => /^(\w+)=([\s\S]*)$/.exec(line) ?? []);
    const field = (name: string) => fields.find(([, key]) => key === name)?.[2] ?? null;
    await using source = await fileSource(path);
    const info = await readModuleInfo(source);
    const { signature } = await verifyModule(source, []);
    const signed = signature?.signer.form === 'issuer-and-serial' ? signature.signer : null;
    return [
      ['name', 'version', 'vermagic', 'srcversion', 'depends', 'signer', 'sig_key', 'sig_hashalgo'].map(
        field,
      ),
      [
        info?.name,
        info?.version,
        info?.vermagic,
        info?.srcversion,
        info?.depends.join(','),
        signed === null ? null : /CN=([^,]*)/.exec(signed.issuer)?.[1],
        signed === null ? null : signed.serialNumber.replaceAll(/(..)(?!$)/g, '$1:'),
        signature?.hash ?? null,
      ],
    ];
  }

  test('our own module, unsigned and signed', async () => {
    const [theirs, ours] = await both(helloPath);
    expect(ours).toEqual(theirs);
    const path = join(directory, 'hello-signed.ko');
    writeFileSync(path, await append(hello));
    const [theirsSigned, oursSigned] = await both(path);
    expect(oursSigned).toEqual(theirsSigned);
  });

  test.skipIf(absent)(
    "Debian's modules [without them in the cache: node scripts/test.js --secure-boot gets them]",
    async () => {
      const paths = readdirSync(debianModules, { recursive: true, encoding: 'utf8' })
        .filter((path) => isModuleName(path))
        .toSorted()
        .map((path) => join(debianModules, path));
      expect(paths.length).toBeGreaterThan(3000);
      for (const path of paths) {
        await using source = await fileSource(path);
        const { signatures } = await readModuleLayout(source);
        const info = await readModuleInfo(source);
        if (signatures !== 1 || info?.architecture !== 'x86_64')
          throw new Error(`${path}: ${signatures} signatures`);
      }
      for (let index = 0; index < paths.length; index += 97) {
        const [theirs, ours] = await both(paths[index] ?? '');
        expect(ours).toEqual(theirs);
      }
    },
    120_000,
  );
});
