import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { inspectReportText } from '../../../src/cli/output/inspect-report.ts';
import { signLocalModule } from '../../../src/signer/sign-file.ts';
import {
  signTag,
  type ImageRepository,
  type InspectReport,
  type SignImageOptions,
  verifyImage,
  storeImage,
  withParents,
  type TestEntry,
  useSigningBench,
} from '../../support/signed-images.ts';

const bench = useSigningBench();
let count: number;
let source: ImageRepository;
let destination: ImageRepository;

beforeEach(() => {
  ({ count, source, destination } = bench.freshPair('views'));
});

/** Our module with a signature. */
async function signedHello(): Promise<Buffer> {
  const path = join(bench.folder, `signed-${count}.ko`);
  await writeFile(path, bench.hello);
  const origin = { signer: bench.key.signer, identifierForm: 'issuer-and-serial' } as const;
  await signLocalModule({ path, origin, hash: 'sha256' });
  return readFile(path);
}

const link: TestEntry = { name: 'o', type: 'symlink', linkname: 'opt' };

/** A lower layer with an unsigned module and a link to its directory, and an upper one. */
async function storeLinked(upper: readonly TestEntry[]): Promise<void> {
  const lower = [...withParents('opt/m/a.ko', bench.hello), link];
  await storeImage(source, { layers: [{ entries: lower }, { entries: upper }] }, '1.0');
}

function verify(repository: ImageRepository): Promise<InspectReport> {
  const image = { repository, selector: { tag: '1.0' } };
  return verifyImage({ image, certificates: [bench.key.signer.certificate] });
}

/** Every module: its state, and its names in both views. */
function judged({ platforms }: InspectReport): string[] {
  return platforms.flatMap(({ modules }) =>
    modules.map(({ path, state, views }) =>
      [state, path, ...(views === null ? [] : [views.overlayfs.join(), views.extraction.join()])].join(' '),
    ),
  );
}

function sign(options: Partial<SignImageOptions> = {}) {
  return signTag(source, destination, bench.key.signer, options);
}

describe('a module that an upper layer replaces through a link of a lower one', () => {
  it('is judged as overlayfs shows it and as an extraction shows it', async () => {
    await storeLinked([{ name: 'o/m/a.ko', content: await signedHello() }]);
    const report = await verify(source);
    expect(judged(report)).toEqual([
      'trusted /o/m/a.ko /o/m/a.ko /opt/m/a.ko',
      'unsigned /opt/m/a.ko /opt/m/a.ko ',
    ]);
    expect(report.worst).toBe('unsigned');
    expect(inspectReportText(report)).toMatch(
      /Runtimes see different files at \/opt\/m\/a\.ko .* with overlayfs it is \/opt\/m\/a\.ko, .* it is hidden/,
    );
  });

  it('is not trusted either when only its path is asked for', async () => {
    await storeLinked([{ name: 'o/m/a.ko', content: await signedHello() }]);
    const image = { repository: source, selector: { tag: '1.0' } };
    const certificates = [bench.key.signer.certificate];
    const report = await verifyImage({ image, certificates, files: ['/opt/m/a.ko'] });
    expect(judged(report)).toHaveLength(2);
    expect(report.worst).toBe('unsigned');
  });

  it.each(['rewrite', 'append'] as const)('is signed in both views (%s)', async (mode) => {
    await storeLinked([{ name: 'o/m/a.ko', content: bench.hello }]);
    await sign({ mode });
    const report = await verify(destination);
    expect(judged(report)).toEqual([
      'trusted /o/m/a.ko /o/m/a.ko /opt/m/a.ko',
      'trusted /opt/m/a.ko /opt/m/a.ko ',
    ]);
  });
});

describe('a module that an upper layer removes through a link of a lower one', () => {
  const upper = [{ name: 'o/m/.wh.a.ko', content: '' }];

  it('is judged, since overlayfs shows it', async () => {
    await storeLinked(upper);
    expect(judged(await verify(source))).toEqual(['unsigned /opt/m/a.ko /opt/m/a.ko ']);
  });

  it('is signed where it lies', async () => {
    await storeLinked(upper);
    await sign({ mode: 'rewrite' });
    expect(judged(await verify(destination))).toEqual(['trusted /opt/m/a.ko /opt/m/a.ko ']);
  });

  it('is refused in mode append, where it would come back in the other view', async () => {
    await storeLinked(upper);
    await expect(sign({ mode: 'append' })).rejects.toMatchObject({
      code: 'VIEWS_DIFFER',
      message: expect.stringContaining('/opt/m/a.ko'),
    });
    await expect(verify(destination)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
