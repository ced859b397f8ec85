import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { modprobe as modprobeSchema } from '../../../../src/api/module/modprobe.ts';
import { parseKernel } from '../../../../src/builder/kernel.ts';
import { loaderEnvironment } from '../../../../src/controller/module/loading/loader-environment.ts';
import { helloModule } from '../../../support/signing.ts';
import { describeWith } from '../../../support/programs.ts';
import { LoaderNode, loaderPrograms, type LoaderEnvironment } from './loader-container.ts';

const hello = await helloModule;
/** Of hello.ko, as modinfo prints it. */
const srcversion = 'A918499BBFB587B8E91E94B';

function variablesFor(modprobe: object): LoaderEnvironment {
  return loaderEnvironment({
    modprobe: modprobeSchema.parse(modprobe),
    kernel: parseKernel(release()),
    inTreeModulesToRemove: [],
    owner: 'drivers.driver',
    unloadSeconds: 2,
  });
}

describeWith(loaderPrograms, 'the files of modules in an image', () => {
  let node: LoaderNode;

  beforeEach(() => {
    node = new LoaderNode();
  });
  afterEach(() => node[Symbol.dispose]());

  it.each(['gz', 'xz', 'zst'] as const)('loads modules that are compressed: %s', async (suffix) => {
    node.addModules({ hello, 'helper-one': hello });
    node.add('image', { 'etc/modprobe.d/hello.conf': 'softdep hello pre: helper-one\n' });
    node.compressModules(suffix);
    (await node.load(variablesFor({ moduleName: 'hello' }))).kill();
    expect(node.inserted()).toEqual([`helper-one.ko.${suffix}`, `hello.ko.${suffix}`]);
    expect(readFileSync(node.path('sys-module/hello/srcversion'), 'utf8').trim()).toBe(srcversion);
  });

  it.each([
    ['no index', /^modules\./],
    ['only the indexes that busybox makes', /\.bin$/],
  ])('indexes the modules of an image that has %s', async (_title, removed) => {
    node.addModules({ hello, 'helper-one': hello });
    node.removeIndexes(removed);
    const rawArgs = { load: ['-vd', '/opt', 'hello'], unload: ['-r', '-d', '/opt', 'hello'] };
    (await node.load(variablesFor({ rawArgs }))).kill();
    expect(node.inserted()).toEqual(['hello.ko']);
  });

  it('indexes compressed modules that no index names', async () => {
    node.addModules({ hello });
    node.compressModules('gz');
    node.removeIndexes(/^modules\./);
    (await node.load(variablesFor({ moduleName: 'hello' }))).kill();
    expect(node.inserted()).toEqual(['hello.ko']);
  });

  it('indexes modules again where the index lacks the one that is to be loaded', async () => {
    node.addModules({ other: hello });
    node.add('image', { [`opt/lib/modules/${release()}/extra/hello.ko`]: hello });
    (await node.load(variablesFor({ moduleName: 'hello' }))).kill();
    expect(node.inserted()).toEqual(['hello.ko']);
  });

  it('says that a module cannot be decompressed', async () => {
    node.addModules({ hello });
    node.compressModules('gz');
    const path = `opt/lib/modules/${release()}/hello.ko.gz`;
    node.add('image', { [path]: Buffer.from([0x1f, 0x8b, 8, 0, 0]) });
    const run = node.start(variablesFor({ moduleName: 'hello' }));
    expect(await run.exited).toBe(1);
    expect(node.termination).toMatch(
      /^cannot decompress a module of the image: .*\/opt\/lib\/modules\/.*hello\.ko\.gz/,
    );
  });
});
