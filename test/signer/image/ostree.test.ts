import { mkdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { beforeAll, expect, it } from 'vitest';
import { digestOf } from '../../../src/registry/model/digest.ts';
import { labelsOf, readImageConfig } from '../../../src/registry/image/config.ts';
import {
  signTag,
  type ImageRepository,
  type SignImageOptions,
  verifyImage,
  storeImage,
  withParents,
  useSigningBench,
} from '../../support/signed-images.ts';
import { describeWith, type ProgramPaths } from '../../support/programs.ts';

const modulePath = '/usr/lib/modules/6.1/extra/hello.ko';
const ownModule = '/opt/own.ko';

describeWith(['ostree', 'skopeo', 'umoci', 'sign-file'], 'an image with an OSTree repository', (programs) => {
  const bench = useSigningBench();
  let source: ImageRepository;
  let destination: ImageRepository;
  let tar: Buffer;
  let commit: string;
  let runs = 0;

  beforeAll(async () => {
    source = bench.repository('vendor/bootc');
    ({ tar, commit } = await packSystem(programs, { folder: bench.folder, module: bench.hello }));
    const stated = { 'ostree.commit': commit, 'ostree.final-diffid': digestOf(tar), vendor: 'example' };
    const own = { entries: withParents(ownModule.slice(1), bench.hello) };
    await storeImage(source, { layers: [{ tar }, own], config: { config: { Labels: stated } } }, '1.0');
  });

  function sign(options: Partial<SignImageOptions>) {
    runs += 1;
    destination = bench.repository(`signed/bootc-${runs}`);
    return signTag(source, destination, bench.key.signer, options);
  }

  async function labels(): Promise<Record<string, string>> {
    const manifest = await destination.getManifest({ tag: '1.0' });
    if (manifest.kind !== 'image') throw new Error('the destination holds no image');
    return labelsOf(await readImageConfig(destination, manifest));
  }

  /** What a node unpacks. */
  async function unpack(repository: ImageRepository): Promise<string> {
    const layout = join(bench.folder, `unpacked-${runs}`);
    const from = `docker://${repository.name}:1.0`;
    await execa(programs.skopeo, ['copy', '--src-tls-verify=false', from, `oci:${layout}:1.0`]);
    await execa(programs.umoci, ['unpack', '--image', `${layout}:1.0`, `${layout}-bundle`]);
    return join(`${layout}-bundle`, 'rootfs');
  }

  function fsck(rootfs: string) {
    return execa(programs.ostree, ['fsck', `--repo=${join(rootfs, 'sysroot/ostree/repo')}`]);
  }

  it('is not rewritten, and the error says what to do', async () => {
    await expect(sign({})).rejects.toMatchObject({
      code: 'OSTREE_OBJECT',
      hint: expect.stringContaining('--mode append'),
    });
    await expect(destination.resolve({ tag: '1.0' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('stays whole when a layer is appended, and its module is signed', async () => {
    const report = await sign({ mode: 'append' });
    const rootfs = await unpack(destination);
    expect((await fsck(rootfs)).exitCode).toBe(0);
    expect(report.platforms[0]?.modules).toMatchObject([
      { path: ownModule },
      { path: modulePath, otherNames: [] },
    ]);
    const expected = join(bench.folder, 'expected.ko');
    await writeFile(expected, bench.hello);
    await execa(programs['sign-file'], ['sha256', bench.key.key, bench.key.certificate, expected]);
    expect(await readFile(join(rootfs, modulePath))).toEqual(await readFile(expected));
    expect((await stat(join(rootfs, modulePath))).nlink).toBe(1);
    const image = { repository: destination, selector: { tag: '1.0' } };
    expect((await verifyImage({ image, certificates: [bench.key.signer.certificate] })).worst).toBe(
      'trusted',
    );
    expect(
      await sign({ mode: 'append', destination: { repository: destination, tag: '1.0' } }),
    ).toMatchObject({
      status: 'unchanged',
    });
  });

  it('loses the labels that would not be true, and the report names them', async () => {
    const report = await sign({ mode: 'append' });
    // The last layer of the repository is still the one that the other label names.
    expect(await labels()).toMatchObject({ 'ostree.final-diffid': digestOf(tar), vendor: 'example' });
    expect(await labels()).not.toHaveProperty(['ostree.commit']);
    expect(report.warnings).toEqual([expect.stringContaining('the label ostree.commit was removed')]);
  });

  it('is signed in either mode where a module is no part of the repository', async () => {
    const report = await sign({ files: [ownModule] });
    expect(report.warnings).toEqual([]);
    expect(await labels()).toMatchObject({ 'ostree.commit': commit, 'ostree.final-diffid': digestOf(tar) });
    expect((await fsck(await unpack(destination))).exitCode).toBe(0);
  });

  it('refuses an object of the repository by its own name', async () => {
    const { stdout } = await execa('tar', ['-tf', join(bench.folder, 'system.tar')]);
    const object = stdout.split('\n').find((name) => name.endsWith('.file'));
    const files = [object?.slice(1) ?? ''];
    await expect(sign({ mode: 'append', files })).rejects.toMatchObject({ code: 'OSTREE_OBJECT' });
  });
});

/** A system as `ostree container encapsulate` packs it: a repository, and the files of a commit linked to its objects. */
async function packSystem(
  { ostree }: ProgramPaths<'ostree'>,
  { folder, module }: { readonly folder: string; readonly module: Buffer },
): Promise<{ tar: Buffer; commit: string }> {
  const tree = join(folder, 'tree');
  const root = join(folder, 'system');
  const repository = `--repo=${join(folder, 'repo')}`;
  await mkdir(dirname(join(tree, modulePath)), { recursive: true });
  await writeFile(join(tree, modulePath), module);
  await execa(ostree, ['init', repository, '--mode=bare']);
  const { stdout: commit } = await execa(ostree, ['commit', repository, '--branch=os', `--tree=dir=${tree}`]);
  await execa(ostree, ['checkout', repository, '--require-hardlinks', 'os', root]);
  await mkdir(join(root, 'sysroot/ostree'), { recursive: true });
  await rename(join(folder, 'repo'), join(root, 'sysroot/ostree/repo'));
  await symlink('sysroot/ostree', join(root, 'ostree'));
  await execa('tar', ['--sort=name', '-C', root, '-cf', join(folder, 'system.tar'), '.']);
  return { tar: await readFile(join(folder, 'system.tar')), commit };
}
