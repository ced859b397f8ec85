import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cacheDirectory, requireProgram } from '../support/programs.ts';
import { kernelRelease } from '../secure-boot/packages.ts';

const run = promisify(execFile);
const hello = fileURLToPath(new URL('../../fixtures/hello/', import.meta.url));

/** The programs that the archive is made with. */
export const buildToolsPrograms = ['apt-get', 'dpkg-deb', 'tar'] as const;

const packages = [
  'gcc',
  'make',
  `linux-headers-${kernelRelease}`,
  'dash',
  'coreutils',
  'sed',
  'grep',
  'findutils',
  'busybox-static',
];
/** What no build of a kernel module reads: half of the whole. */
const leftOut = [
  './usr/share/doc',
  './usr/share/man',
  './usr/share/locale',
  './usr/share/info',
  './usr/share/gdb',
  'libasan*',
  'libtsan*',
  'libubsan*',
  'liblsan*',
  'libgprofng*',
  'lto1',
  '*lto-dump*',
];

/**
 * Path of a tar with the root of an image that builds kernel modules: Debian's compiler, make and the headers of
 * the kernel that the Secure Boot test boots, with the source of our module in /src. It is made once, from packages
 * that apt downloads (77 MB), and kept in the cache.
 */
export async function buildToolsArchive(): Promise<string> {
  const folder = join(cacheDirectory, 'build-tools');
  const archive = join(folder, `${kernelRelease}.tar`);
  if (existsSync(archive)) return archive;
  await mkdir(folder, { recursive: true });
  const work = await mkdtemp(join(folder, '.work-'));
  try {
    const root = join(work, 'root');
    for (const file of await downloadPackages(work)) {
      await run(requireProgram('dpkg-deb'), ['--extract', file, root]);
    }
    await complete(root);
    const made = join(work, 'made.tar');
    await run(requireProgram('tar'), [
      `--directory=${root}`,
      ...leftOut.map((pattern) => `--exclude=${pattern}`),
      '--sort=name',
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      '--create',
      `--file=${made}`,
      '.',
    ]);
    await rename(made, archive);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return archive;
}

/** Downloads the packages with all that they depend on, as if nothing were installed. */
async function downloadPackages(work: string): Promise<string[]> {
  const archives = join(work, 'apt', 'archives');
  await mkdir(join(archives, 'partial'), { recursive: true });
  const status = join(work, 'status');
  await writeFile(status, '');
  const options = {
    'Dir::State::status': status,
    'Dir::Cache': join(work, 'apt'),
    'APT::Sandbox::User': 'root',
    'Acquire::Retries': '5',
    'Debug::NoLocking': '1',
  };
  await run(
    requireProgram('apt-get'),
    [
      ...Object.entries(options).map(([name, value]) => `--option=${name}=${value}`),
      '--yes',
      '--no-install-recommends',
      '--download-only',
      'install',
      ...packages,
    ],
    { maxBuffer: 2 ** 24 },
  );
  const files = await readdir(archives);
  return files.filter((file) => file.endsWith('.deb')).map((file) => join(archives, file));
}

/** What the packages' scripts would have done, as far as it is needed, and the source. */
async function complete(root: string): Promise<void> {
  await symlink('/bin/busybox', join(root, 'usr/bin/awk'));
  await symlink('/bin/busybox', join(root, 'sbin/depmod'));
  for (const name of ['tmp', 'proc', 'sys', 'dev', 'src']) await mkdir(join(root, name), { recursive: true });
  for (const file of ['hello.c', 'Makefile']) await copyFile(join(hello, file), join(root, 'src', file));
}
