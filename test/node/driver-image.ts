import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { release } from 'node:os';
import { promisify } from 'node:util';
import type { ImageRepository } from '../../src/registry/image/repository.ts';
import { createTemporaryDirectory } from '../../src/shared/temporary.ts';
import { kernelRelease } from '../support/debian-kernel.ts';
import { makeTar, storeImage, withParents, type TestEntry, type TestLayer } from '../support/images.ts';
import { requireProgram, type ProgramName } from '../support/programs.ts';

const applets = ['sh', 'mkdir', 'cp', 'cat', 'ls', 'rm', 'sleep'];
const config = { config: { Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'] } };

/** Pushes an image with busybox and Debian's kmod under the tag `latest`: what images of modules are made from. */
export async function pushKmodImage(repository: ImageRepository): Promise<void> {
  await storeImage(repository, { layers: [await kmodLayer()], config }, 'latest');
}

/** What is different between images of modules. */
export interface DriverOptions {
  /** The module's name. @default 'hello' */
  readonly name?: string;
  /** Whether there are files of the module only, and no program. */
  readonly fromScratch?: boolean;
}

/** Pushes an image with a module for Debian's newest kernel, which is its tag. */
export async function pushDriver(
  repository: ImageRepository,
  module: Buffer,
  { name = 'hello', fromScratch = false }: DriverOptions = {},
): Promise<void> {
  await using work = await createTemporaryDirectory();
  const directory = join(work.path, 'lib/modules', kernelRelease);
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, `${name}.ko`), module);
  await promisify(execFile)(requireProgram('depmod'), ['--basedir', work.path, kernelRelease]);
  const files = await readdir(directory);
  const entries = await Promise.all(
    files.map(async (file) =>
      withParents(`opt/lib/modules/${kernelRelease}/${file}`, await readFile(join(directory, file))),
    ),
  );
  const own = { entries: distinct(entries.flat()) };
  const image = fromScratch ? { layers: [own] } : { layers: [await kmodLayer(), own], config };
  await storeImage(repository, image, kernelRelease);
}

/** Pushes an image for a module that is built into the kernel of this machine: modprobe has nothing to do. */
export async function pushBuiltIn(repository: ImageRepository, file: string): Promise<void> {
  const kernel = release();
  await using work = await createTemporaryDirectory();
  const directory = join(work.path, 'lib/modules', kernel);
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, 'modules.builtin'), `${file}\n`);
  await promisify(execFile)(requireProgram('depmod'), ['--basedir', work.path, kernel]);
  const files = await readdir(directory);
  const entries = await Promise.all(
    files.map(async (name) =>
      withParents(`opt/lib/modules/${kernel}/${name}`, await readFile(join(directory, name))),
    ),
  );
  const layers = [await kmodLayer(), { entries: distinct(entries.flat()) }];
  await storeImage(repository, { layers, config }, kernel);
}

/** Pushes an image whose only file is a program, under the tag `v1`. */
export async function pushProgram(repository: ImageRepository, program: ProgramName): Promise<void> {
  const entries = withParents(`bin/${program}`, await readFile(requireProgram(program)), { mode: 0o755 });
  const Entrypoint = [`/bin/${program}`];
  await storeImage(repository, { layers: [{ entries }], config: { config: { Entrypoint } } }, 'v1');
}

async function kmodLayer(): Promise<TestLayer> {
  const busybox = await readFile(requireProgram('busybox'));
  const kmod = requireProgram('modprobe');
  const { stdout } = await promisify(execFile)('ldd', [kmod]);
  const libraries = Array.from(stdout.matchAll(/(\/\S+) \(0x/g), ([, path = '']) => path);
  const programs = ['modprobe', 'depmod', 'insmod', 'rmmod', 'lsmod'];
  const entries = [
    ...withParents('bin/busybox', busybox, { mode: 0o755 }),
    ...applets.map((name) => link(name, 'busybox')),
    { name: 'bin/kmod', content: await readFile(kmod), mode: 0o755 },
    ...programs.map((name) => link(name, 'kmod')),
    ...(
      await Promise.all(
        libraries.map(async (path) => withParents(path.slice(1), await readFile(path), { mode: 0o755 })),
      )
    ).flat(),
    { name: 'tmp/' },
  ];
  return { tar: await makeTar(distinct(entries)) };
}

/** Directories are named by each file in them. */
function distinct(entries: readonly TestEntry[]): TestEntry[] {
  return [...new Map(entries.map((entry) => [entry.name, entry])).values()];
}

function link(name: string, target: string): TestEntry {
  return { name: `bin/${name}`, type: 'symlink', linkname: target };
}
