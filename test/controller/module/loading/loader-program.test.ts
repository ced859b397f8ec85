import { existsSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { modprobe as modprobeSchema } from '../../../../src/api/module/modprobe.ts';
import { parseKernel } from '../../../../src/builder/kernel.ts';
import {
  loaderEnvironment,
  softDependencies,
  type LoaderTask,
} from '../../../../src/controller/module/loading/loader-environment.ts';
import { helloModule } from '../../../support/signing.ts';
import { describeWith } from '../../../support/programs.ts';
import { LoaderNode, loaderPrograms, type LoaderEnvironment } from './loader-container.ts';

const hello = await helloModule;
/** Of hello.ko, as modinfo prints it. */
const srcversion = 'A918499BBFB587B8E91E94B';
/** Of hello.ko, as readelf prints it. */
const buildId = 'f2fff06754fa444254918b72832839f2d2cf1042';
/** A module without the field, as of kernels that are built without it. */
const withoutSrcversion = Buffer.from(
  hello.toString('latin1').replace('srcversion=', 'srcversiox='),
  'latin1',
);

function variablesFor(modprobe: object, changes: Partial<LoaderTask> = {}): LoaderEnvironment {
  return loaderEnvironment({
    modprobe: modprobeSchema.parse(modprobe),
    kernel: parseKernel(release()),
    inTreeModulesToRemove: [],
    owner: 'drivers.driver',
    unloadSeconds: 2,
    ...changes,
  });
}

describeWith(loaderPrograms, 'a module loader, run with the programs of its image', () => {
  let node: LoaderNode;

  beforeEach(() => {
    node = new LoaderNode();
  });
  afterEach(() => node[Symbol.dispose]());

  function options(name: string): string {
    return readFileSync(node.path('sys-module', name, 'options'), 'utf8').trim();
  }

  it('loads the module of an image that has no programs, and unloads it when its pod ends', async () => {
    node.addModules({ hello });
    const run = await node.load(variablesFor({ moduleName: 'hello', parameters: ['whom=me'] }));
    expect(node.isLoaded('hello')).toBe(true);
    expect(options('hello')).toBe('whom=me');
    expect(await run.terminate()).toBe(0);
    expect(node.isLoaded('hello')).toBe(false);
    expect(node.termination).toBe('');
  });

  it.each([
    ['whose directory is a link elsewhere', 'data/drivers', 'opt', '/data/drivers', '/opt'],
    ['at the place of the node’s own modules', 'usr', 'lib', 'usr/lib', '/'],
  ])('finds modules %s', async (_title, base, link, target, dirName) => {
    node.addModules({ hello }, base);
    symlinkSync(target, node.path('image', link));
    (await node.load(variablesFor({ moduleName: 'hello', dirName }))).kill();
    expect(node.isLoaded('hello')).toBe(true);
  });

  it('takes modules of the node that the image links to, by both of their paths', async () => {
    node.add('modules', { [`${release()}/kernel/first.ko`]: hello, [`${release()}/other/second.ko`]: hello });
    node.add('image', { 'etc/modprobe.d/hello.conf': 'softdep hello pre: first second\n' });
    const links = [
      ['host', node.path('modules', release(), 'kernel'), `/host/lib/modules/${release()}/kernel`],
      ['plain', node.path('modules', release(), 'other'), `/lib/modules/${release()}/other`],
    ] as const;
    const at = (name: string): string => node.path('image/opt/lib/modules', release(), name);
    node.add('image', { [`opt/lib/modules/${release()}/empty`]: '' });
    // They lead to the node's modules while depmod runs, as they do in a build, and then in the loader.
    for (const [name, here] of links) symlinkSync(here, at(name));
    node.addModules({ hello });
    for (const [name, , there] of links) {
      rmSync(at(name));
      symlinkSync(there, at(name));
    }
    (await node.load(variablesFor({ moduleName: 'hello' }))).kill();
    expect(readdirSync(node.path('sys-module')).toSorted()).toEqual(['first', 'hello', 'second']);
  });

  it('idles in one process with less than 300 kilobytes of its own', async () => {
    node.addModules({ hello });
    const run = await node.load(variablesFor({ moduleName: 'hello' }));
    // It is ready before the last program that it runs, mkfifo, has ended.
    await vi.waitFor(() => expect(run.processes()).toHaveLength(1), { timeout: 10_000 });
    const [pid] = run.processes();
    const own = /^Private_Dirty: +(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1];
    expect(Number(own)).toBeLessThan(300);
    run.kill();
  });

  it('heeds settings in the image, also beside an order of modules', async () => {
    node.addModules({ hello, 'helper-one': hello });
    node.add('image', { 'etc/modprobe.d/hello.conf': 'options hello whom=settings\n' });
    const modprobe = { moduleName: 'hello', modulesLoadingOrder: ['hello', 'helper-one'] };
    node.add('order', { 'softdep.conf': softDependencies(modprobeSchema.parse(modprobe)) ?? '' });
    const run = await node.load(variablesFor(modprobe));
    expect(options('hello')).toBe('whom=settings');
    expect(node.inserted()).toEqual(['helper-one.ko', 'hello.ko whom=settings']);
    expect(await run.terminate()).toBe(0);
    expect(node.isLoaded('helper_one')).toBe(false);
  });

  it('heeds the files of the directory that modprobedDir names, beside an order of modules', async () => {
    node.addModules({ hello, 'helper-one': hello });
    node.add('image', { 'vendor/settings/hello.conf': 'options hello whom=vendor\n' });
    const modprobe = {
      moduleName: 'hello',
      modprobedDir: '/vendor/settings/',
      modulesLoadingOrder: ['hello', 'helper-one'],
    };
    node.add('order', { 'softdep.conf': softDependencies(modprobeSchema.parse(modprobe)) ?? '' });
    const run = await node.load(variablesFor(modprobe));
    expect(node.inserted()).toEqual(['helper-one.ko', 'hello.ko whom=vendor']);
    expect(await run.terminate()).toBe(0);
  });

  it.each([
    ['does not exist', {}, 'the image has no directory /vendor/settings (modprobedDir)'],
    ['has a directory in it', { 'vendor/settings/more/a.conf': '' }, 'has a directory in it: more'],
    [
      'has a file of the operator’s name',
      { 'vendor/settings/kmm-modules-order.conf': '' },
      "has a file of the operator's name: kmm-modules-order.conf",
    ],
  ])('loads nothing when the directory that modprobedDir names %s', async (_title, files, words) => {
    node.addModules({ hello });
    node.add('image', files);
    const run = node.start(variablesFor({ moduleName: 'hello', modprobedDir: '/vendor/settings' }));
    expect(await run.exited).toBe(1);
    expect(node.termination).toContain(words);
    expect(node.isLoaded('hello')).toBe(false);
  });

  it('does not run what is written into names, paths and parameters', async () => {
    const evil = [
      '$(touch /host/firmware/owned)',
      '`touch /host/firmware/owned`',
      "';touch /host/firmware/owned;'",
    ];
    node.addModules({ hello });
    const variables = variablesFor(
      {
        moduleName: 'hello',
        parameters: evil.map((text) => `a=${text}`),
        firmwarePath: `/none;${evil.join()}`,
      },
      { inTreeModulesToRemove: evil, owner: evil.join() },
    );
    const run = node.start(variables);
    expect(await run.exited).toBe(1);
    const raw = node.start(variablesFor({ rawArgs: { load: evil, unload: evil } }));
    expect(await raw.exited).toBe(1);
    expect(existsSync(node.path('firmware', 'owned'))).toBe(false);
    const harmless = await node.load(
      variablesFor({ moduleName: 'hello', parameters: evil.map((text) => `a=${text}`) }),
    );
    expect(node.calls().at(-2)).toBe(`-v|-d|/opt|hello|${evil.map((text) => `a=${text}|`).join('')}`);
    harmless.kill();
    expect(existsSync(node.path('firmware', 'owned'))).toBe(false);
  });

  it('ends with the words of modprobe where the module cannot be loaded', async () => {
    node.addModules({ other: hello });
    const run = node.start(variablesFor({ moduleName: 'hello' }));
    expect(await run.exited).toBe(1);
    expect(node.termination).toContain(
      `modprobe: FATAL: Module hello not found in directory /opt/lib/modules/${release()}`,
    );
    expect(node.isReady()).toBe(false);
  });

  it('knows what raw arguments load', async () => {
    node.addModules({ 'hello-there': hello });
    const rawArgs = { load: ['-d', '/opt', 'hello-there'], unload: ['-r', '-d', '/opt', 'hello-there'] };
    const run = await node.load(variablesFor({ rawArgs }));
    expect(node.isLoaded('hello_there')).toBe(true);
    expect(await run.terminate()).toBe(0);
    expect(node.isLoaded('hello_there')).toBe(false);
  });

  it('removes in-tree modules that are loaded before it loads', async () => {
    node.addModules({ hello });
    node.addLoaded('old_driver');
    const variables = variablesFor(
      { moduleName: 'hello' },
      { inTreeModulesToRemove: ['old-driver', 'not-loaded'] },
    );
    (await node.load(variables)).kill();
    expect(node.isLoaded('old_driver')).toBe(false);
    expect(node.calls().slice(0, 2)).toEqual(['-rv|-d|/host|old-driver|', '-v|-d|/opt|hello|']);
  });

  it('leaves the module alone where the kernel has the same, though in-tree it would be removed', async () => {
    node.addModules({ hello });
    node.addLoaded('hello', { srcversion, refcnt: '3' });
    (await node.load(variablesFor({ moduleName: 'hello' }, { inTreeModulesToRemove: ['hello'] }))).kill();
    expect(node.calls()).toEqual(['-v|-d|/opt|hello|']);
  });

  it('replaces another build of the module', async () => {
    node.addModules({ hello });
    node.addLoaded('hello', { srcversion: 'OLD' });
    (await node.load(variablesFor({ moduleName: 'hello' }))).kill();
    expect(readFileSync(node.path('sys-module/hello/srcversion'), 'utf8').trim()).toBe(srcversion);
  });

  it.each([
    [
      'source',
      hello,
      { srcversion: 'OLD' },
      `the kernel has another build of hello (OLD) than the image (${srcversion})`,
    ],
    [
      'build ID, where kernels know no version of the source',
      withoutSrcversion,
      { 'notes/.note.gnu.build-id': noteOf('00'.repeat(20)) },
      buildId,
    ],
  ])(
    'never reports a module as loaded while another is in use: by its %s',
    async (_title, module, files, words) => {
      node.addModules({ hello: module });
      node.addLoaded('hello', { ...files, refcnt: '1' });
      const run = node.start({ ...variablesFor({ moduleName: 'hello' }), KMM_TRY_SECONDS: '1' });
      expect(await run.exited).toBe(1);
      expect(node.termination).toContain(words);
      expect(node.termination).toContain(
        'modprobe: FATAL: Module hello is in use. (module is in use: 1 references)',
      );
      expect(node.isReady()).toBe(false);
    },
  );

  it('knows the same module by its build ID', async () => {
    node.addModules({ hello: withoutSrcversion });
    node.addLoaded('hello', { 'notes/.note.gnu.build-id': noteOf(buildId), refcnt: '1' });
    (await node.load(variablesFor({ moduleName: 'hello' }))).kill();
    expect(node.calls()).toEqual(['-v|-d|/opt|hello|']);
  });

  it('tries to unload until nobody uses the module', async () => {
    node.addModules({ hello });
    const run = await node.load(variablesFor({ moduleName: 'hello' }, { unloadSeconds: 60 }));
    writeFileSync(node.path('sys-module/hello/refcnt'), '1\n');
    const exited = run.terminate();
    await expect.poll(() => node.termination, { timeout: 10_000 }).toContain('is in use');
    writeFileSync(node.path('sys-module/hello/refcnt'), '0\n');
    expect(await exited).toBe(0);
    expect(node.isLoaded('hello')).toBe(false);
    expect(node.termination).toBe('');
  });

  it('says who uses a module that it could not unload in time', async () => {
    node.addModules({ hello });
    const run = await node.load(variablesFor({ moduleName: 'hello' }));
    node.add('sys-module', { 'hello/holders/gpu_a': '', 'hello/holders/gpu_b': '', 'hello/refcnt': '2\n' });
    expect(await run.terminate()).toBe(1);
    expect(node.termination).toContain('Module hello is in use. (module is in use by gpu_a gpu_b)');
  });

  it('cleans a node without loading anything', async () => {
    node.addModules({ hello });
    node.addLoaded('hello', { srcversion });
    const run = node.start(variablesFor({ moduleName: 'hello' }), 'unload');
    await run.ready();
    expect(node.isLoaded('hello')).toBe(false);
    expect(await run.terminate()).toBe(0);
    expect(node.calls()).toEqual(['-rv|-d|/opt|hello|']);
  });

  it('copies firmware to the node, and takes away again what it brought', async () => {
    node.addModules({ hello });
    node.add('image', { 'firmware/a.bin': 'a', 'firmware/sub/deep/b.bin': 'b' });
    node.add('firmware', { 'sub/foreign.bin': 'theirs' });
    const run = await node.load(variablesFor({ moduleName: 'hello', firmwarePath: '/firmware/' }));
    expect(readFileSync(node.path('firmware/sub/deep/b.bin'), 'utf8')).toBe('b');
    expect(await run.terminate()).toBe(0);
    expect(readdirSync(node.path('firmware'))).toEqual(['sub']);
    expect(readdirSync(node.path('firmware/sub'))).toEqual(['foreign.bin']);
  });

  it.each(['', '/old/path'])(
    'sets the kernel’s path for firmware, and puts back %j with the last Module',
    async (old) => {
      node.addModules({ hello, second: hello });
      node.add('image', { 'firmware/a.bin': 'a' });
      const path = 'firmware_class/parameters/path';
      node.add('sys-module', { [path]: `${old}\n` });
      const value = (): string =>
        readFileSync(node.path('sys-module', path), 'latin1').replace(/[\n\0]$/, '');
      const common = { firmwareSearchPath: '/var/lib/firmware' };
      const firmwarePath = '/firmware';
      const first = await node.load(variablesFor({ moduleName: 'hello', firmwarePath }, common));
      expect(value()).toBe('/var/lib/firmware');
      rmSync(node.path('state/ready'));
      const second = await node.load(
        variablesFor({ moduleName: 'second', firmwarePath }, { ...common, owner: 'b.c' }),
      );
      expect(await first.terminate()).toBe(0);
      expect(value()).toBe('/var/lib/firmware');
      expect(await second.terminate()).toBe(0);
      expect(value()).toBe(old);
      expect(readdirSync(node.path('firmware'))).toEqual([]);
    },
  );
});

/** A note section with a build ID (elf.h). */
function noteOf(id: string): Buffer {
  return Buffer.from(`040000001400000003000000474e5500${id}`, 'hex');
}
