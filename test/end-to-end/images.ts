import { readFile } from 'node:fs/promises';
import type { ImageRepository } from '../../src/registry/image/repository.ts';
import { makeTar, storeImage, withParents, type TestEntry, type TestLayer } from '../support/images.ts';
import { requireProgram } from '../support/programs.ts';
import { kernelRelease, nextKernel } from '../support/debian-kernel.ts';
import { buildToolsArchive, builtModule } from './build-tools.ts';

const applets = ['sh', 'mkdir', 'cp', 'cat', 'sleep', 'depmod', 'modprobe', 'rm'];
const config = { config: { Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'] } };

/** Pushes what the manifests refer to: compilers, a small image, and the drivers of a vendor, unsigned. */
export async function pushImages(repository: (name: string) => ImageRepository): Promise<void> {
  // One layer, as it is: nobody gains by packing what stays on this machine.
  const tools = { tar: await readFile(await buildToolsArchive()), compression: 'none' } as const;
  await storeImage(repository('build-tools'), { layers: [tools], config }, 'bookworm');
  await pushSmallImage(repository('ubi'));
  const module = await builtModule();
  for (const kernel of [kernelRelease, nextKernel]) {
    const path = `opt/lib/modules/${kernel}/hello.ko`;
    for (const version of ['', '-1.0', '-2.0']) {
      const driver = {
        entries: [...withParents(path, module), { name: 'version', content: version }],
      };
      const layers = [await smallLayer(), driver];
      await storeImage(repository('example/vendor-driver'), { layers, config }, `${kernel}${version}`);
    }
  }
}

/** Pushes compilers with the headers of the next kernel under its name: those that there are, of another release. */
export async function pushToolsForNextKernel(repository: ImageRepository): Promise<void> {
  const tools = { tar: await readFile(await buildToolsArchive()), compression: 'none' } as const;
  const headers = `usr/src/linux-headers-${kernelRelease}`;
  const file = (path: string, content: string): TestEntry[] =>
    withParents(`${headers}/include/${path}`, `${content}\n`);
  const link = { type: 'symlink', linkname: `/${headers}` } as const;
  const entries = [
    ...file('generated/utsrelease.h', `#define UTS_RELEASE "${nextKernel}"`),
    ...file('config/kernel.release', nextKernel),
    ...withParents(`lib/modules/${nextKernel}/build`, '', link),
  ];
  const distinct = [...new Map(entries.map((entry) => [entry.name, entry])).values()];
  await storeImage(repository, { layers: [tools, { entries: distinct }], config }, nextKernel);
}

/** Pushes a busybox under the tag `latest`. */
export async function pushSmallImage(repository: ImageRepository): Promise<void> {
  await storeImage(repository, { layers: [await smallLayer()], config }, 'latest');
}

async function smallLayer(): Promise<TestLayer> {
  const busybox = await readFile(requireProgram('busybox'));
  const entries = [
    ...withParents('bin/busybox', busybox, { mode: 0o755 }),
    ...applets.map((name) => ({ name: `bin/${name}`, type: 'symlink' as const, linkname: 'busybox' })),
    { name: 'tmp/' },
  ];
  return { tar: await makeTar(entries) };
}
