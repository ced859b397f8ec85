import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import { loadSigner } from '../../../src/signer/keys/load-signer.ts';
import type { Signer } from '../../../src/signer/cms/signer.ts';
import {
  type ImageRepository,
  type InspectReport,
  type SignReport,
  signImage,
  verifyImage,
  storeImage,
  withParents,
  type TestEntry,
  useSigningBench,
} from '../../support/signed-images.ts';
import { asExecutable, withoutModinfo } from '../../support/modules.ts';
import { describeWith } from '../../support/programs.ts';

/** What Debian's vim-runtime ships as tutor.ko is a text in Korean. */
const text = '===  빔 길잡이 (VIM Tutor) ===\n';
const textPath = 'usr/share/vim/vim90/tutor/tutor.ko';

const bench = useSigningBench();
let count = 0;
let repository: ImageRepository;

beforeEach(() => {
  count += 1;
  repository = bench.repository(`vendor/found-${count}`);
});

async function store(...entries: readonly (readonly TestEntry[])[]): Promise<void> {
  await storeImage(repository, { layers: [{ entries: entries.flat() }] }, 'source');
}

function sign(files?: readonly string[], signer: Signer = bench.key.signer): Promise<SignReport> {
  return signImage({
    source: { repository, selector: { tag: 'source' } },
    destination: { repository, tag: 'signed' },
    signer,
    hash: 'sha384',
    files,
  });
}

function verify(
  tag: string,
  files?: readonly string[],
  signer: Signer = bench.key.signer,
): Promise<InspectReport> {
  const image = { repository, selector: { tag } };
  return verifyImage({ image, certificates: [signer.certificate], files });
}

function states(report: InspectReport): Record<string, string> {
  const modules = report.platforms.flatMap((platform) => platform.modules);
  return Object.fromEntries(modules.map(({ path, state }) => [path, state]));
}

function passedOver(path: string): string {
  return `/${path} was skipped: it is not an ELF file, so no kernel loads it as a module`;
}

describe('a file that only looks like a module', () => {
  it.each([
    ['as it is', textPath, text],
    ['compressed', `${textPath}.gz`, gzipSync(text)],
    ['empty', textPath, ''],
  ])('is skipped with a warning: %s', async (_, path, content) => {
    await store(withParents('opt/hello.ko', bench.hello), withParents(path, content));
    expect(await verify('source')).toMatchObject({ worst: 'unsigned', warnings: [passedOver(path)] });
    const report = await sign();
    expect(report).toMatchObject({ status: 'signed', warnings: [passedOver(path)] });
    expect(report.platforms[0]?.modules.map((module) => module.path)).toEqual(['/opt/hello.ko']);
    expect(await verify('signed')).toMatchObject({ worst: 'trusted', warnings: [passedOver(path)] });
  });

  it('is skipped when a glob finds it', async () => {
    await store(withParents('opt/hello.ko', bench.hello), withParents('opt/tutor.ko', text));
    const report = await sign(['/opt/*.ko']);
    expect(report).toMatchObject({ status: 'signed', warnings: [passedOver('opt/tutor.ko')] });
    expect(states(await verify('signed', ['/opt/*.ko']))).toEqual({ '/opt/hello.ko': 'trusted' });
  });

  it('is an error where it was named', async () => {
    await store(withParents('opt/hello.ko', bench.hello), withParents('opt/tutor.ko', text));
    const error = { code: 'NOT_A_MODULE', message: '/opt/tutor.ko is not a kernel module' };
    await expect(sign(['/opt/*.ko', '/opt/tutor.ko'])).rejects.toMatchObject(error);
    await expect(verify('source', ['/opt/tutor.ko'])).rejects.toMatchObject(error);
  });

  it('makes no image with modules', async () => {
    await store(withParents(textPath, text));
    const error = { code: 'FILE_NOT_IN_IMAGE' };
    await expect(sign()).rejects.toMatchObject(error);
    await expect(verify('source')).rejects.toMatchObject(error);
  });

  it('is damaged when it cannot be unpacked, and then blocks', async () => {
    const cut = gzipSync(bench.hello).subarray(0, 200);
    await store(withParents('opt/hello.ko', bench.hello), withParents('opt/cut.ko.gz', cut));
    expect(await verify('source')).toMatchObject({ worst: 'damaged', warnings: [] });
    await expect(sign()).rejects.toMatchObject({ code: 'DAMAGED_MODULE' });
  });
});

describe('an ELF file with the name of a module', () => {
  it('is judged and signed also without .modinfo, as kernels load it', async () => {
    const bare = withoutModinfo(bench.hello);
    await store(withParents('opt/bare.ko', bare), withParents('opt/bare.ko.gz', gzipSync(bare)));
    const before = await verify('source');
    expect(states(before)).toEqual({ '/opt/bare.ko': 'unsigned', '/opt/bare.ko.gz': 'unsigned' });
    expect(before.platforms[0]?.modules[0]).toMatchObject({
      problem: expect.stringContaining('no .modinfo section'),
      info: { kind: 'object', name: null, architecture: 'x86_64' },
    });
    await sign();
    const after = await verify('signed');
    expect(after).toMatchObject({ worst: 'trusted', warnings: [] });
    expect(states(after)).toEqual({ '/opt/bare.ko': 'trusted', '/opt/bare.ko.gz': 'trusted' });
  });

  it('can be named too', async () => {
    await store(withParents('opt/bare.ko', withoutModinfo(bench.hello)));
    await sign(['/opt/bare.ko']);
    expect(states(await verify('signed', ['/opt/bare.ko']))).toEqual({ '/opt/bare.ko': 'trusted' });
  });

  it('is judged and signed also when no kernel loads it, with a warning', async () => {
    const path = '/opt/program.ko';
    await store(withParents(path.slice(1), asExecutable(bench.hello)));
    const warnings = [expect.stringMatching(/^\/opt\/program\.ko .* not relocatable$/)];
    expect(await verify('source')).toMatchObject({ worst: 'unsigned', warnings });
    expect(await sign()).toMatchObject({ status: 'signed', warnings });
    expect(await verify('signed')).toMatchObject({ worst: 'trusted', warnings });
    await expect(sign([path])).rejects.toMatchObject({ code: 'NOT_A_MODULE' });
  });
});

it('an object without .modinfo and with another name is not meant as a module', async () => {
  await store(withParents('opt/bare.o', withoutModinfo(bench.hello)));
  await expect(sign(['/opt/bare.o'])).rejects.toMatchObject({ code: 'NOT_A_MODULE' });
});

describeWith(['openssl'], 'modules signed with ECDSA', ({ openssl }) => {
  it('are trusted, with a warning that not every kernel loads them', async () => {
    const key = join(bench.folder, 'elliptic.key');
    const certificate = join(bench.folder, 'elliptic.pem');
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-nodes', '-subj', '/CN=elliptic'];
    execFileSync(openssl, ['req', '-x509', ...curve, '-keyout', key, '-out', certificate], { stdio: 'pipe' });
    const signer = await loadSigner({ key, certificate, env: {} });
    await store(withParents('opt/a.ko', bench.hello), withParents('opt/b.ko', bench.hello));
    await sign(undefined, signer);
    expect(await verify('signed', undefined, signer)).toMatchObject({
      worst: 'trusted',
      warnings: [expect.stringMatching(/^\/opt\/a\.ko and 1 more: signed with ECDSA, .*CONFIG_CRYPTO_ECDSA/)],
    });
  });
});
