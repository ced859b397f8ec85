import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cacheDirectory, requireProgram } from '../support/programs.ts';
import { kernelRelease } from '../support/debian-kernel.ts';

const run = promisify(execFile);
const hello = fileURLToPath(new URL('../../fixtures/hello/', import.meta.url));

/** The programs that the archive and the module are made with. */
export const buildToolsPrograms = ['apt-get', 'dpkg-deb', 'tar', 'bwrap'] as const;

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

/** What is made of the packages, once. */
const archiveName = 'root.tar';
const moduleName = 'hello.ko';

/**
 * Path of a tar with the root of an image that builds kernel modules: Debian's compiler, make and the headers of
 * the newest kernel, with the source of our module in /src. It is made once, from packages that apt downloads
 * (77 MB), and kept in the cache.
 */
export async function buildToolsArchive(): Promise<string> {
  return join(await buildTools(), archiveName);
}

/** Our own module, unsigned, as those tools build it for the newest kernel. */
export async function builtModule(): Promise<Buffer> {
  return readFile(join(await buildTools(), moduleName));
}

/** The folder with both. It appears only when it is complete, so tests that run at the same time do not disturb each other. */
async function buildTools(): Promise<string> {
  const folder = join(cacheDirectory, 'build-tools');
  const made = join(folder, kernelRelease);
  if (existsSync(made)) return made;
  await mkdir(folder, { recursive: true });
  const work = await mkdtemp(join(folder, '.work-'));
  try {
    const root = join(work, 'root');
    for (const file of await downloadPackages(work)) {
      await run(requireProgram('dpkg-deb'), ['--extract', file, root]);
    }
    await complete(root);
    const unfinished = join(work, 'made');
    await mkdir(unfinished);
    await writeFile(join(unfinished, moduleName), await buildModule(root));
    await pack(root, join(unfinished, archiveName));
    await rename(unfinished, made).catch((error: unknown) => {
      // Another test was faster.
      if (!existsSync(made)) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return made;
}

/** Builds the module in the root, which is left as it was. */
async function buildModule(root: string): Promise<Buffer> {
  const inRoot = ['--bind', root, '/', '--dev', '/dev', '--proc', '/proc', '--tmpfs', '/tmp'];
  const source = join(root, 'build');
  await cp(join(root, 'src'), source, { recursive: true });
  const make = ['make', '-C', '/build', `HEADERS=/usr/src/linux-headers-${kernelRelease}`];
  await run(requireProgram('bwrap'), [...inRoot, ...make], {
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  });
  const module = await readFile(join(source, moduleName));
  await rm(source, { recursive: true });
  return module;
}

async function pack(root: string, archive: string): Promise<void> {
  await run(requireProgram('tar'), [
    `--directory=${root}`,
    ...leftOut.map((pattern) => `--exclude=${pattern}`),
    '--sort=name',
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--create',
    `--file=${archive}`,
    '.',
  ]);
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
