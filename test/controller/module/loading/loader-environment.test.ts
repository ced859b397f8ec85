import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { modprobe as modprobeSchema } from '../../../../src/api/module/modprobe.ts';
import { parseKernel } from '../../../../src/builder/kernel.ts';
import {
  escapeReferences,
  loaderEnvironment,
  quote,
  softDependencies,
} from '../../../../src/controller/module/loading/loader-environment.ts';

function variablesFor(modprobe: object, release = '6.1.0'): Record<string, string> {
  return loaderEnvironment({
    modprobe: modprobeSchema.parse(modprobe),
    kernel: parseKernel(release),
    inTreeModulesToRemove: [],
    owner: 'drivers.driver',
    unloadSeconds: 2,
  });
}

describe('the variables of a module loader', () => {
  it.each([
    [{ moduleName: 'm' }, 'modprobe -v -d /opt m'],
    [{ moduleName: 'm', parameters: ['a=1', 'b=2'] }, 'modprobe -v -d /opt m a=1 b=2'],
    [{ moduleName: 'm', args: { load: ['-v', '-f'] } }, 'modprobe -v -f -d /opt m'],
    [{ rawArgs: { load: ['-d', '/opt', 'm'], unload: ['-r', 'm'] } }, 'modprobe -d /opt m'],
    [{ moduleName: 'm', dirName: '/kmods' }, 'modprobe -v -d /kmods m'],
  ])('loads %j with %s', (modprobe, command) => {
    expect(`modprobe ${variablesFor(modprobe)['KMM_LOAD']}`).toBe(command);
  });

  it.each([
    [{ moduleName: 'm', parameters: ['a=1'] }, 'modprobe -rv -d /opt m'],
    [{ moduleName: 'm', args: { unload: ['-r', '-f'] } }, 'modprobe -r -f -d /opt m'],
    [{ rawArgs: { load: ['m'], unload: ['-r', 'm'] } }, 'modprobe -r m'],
    [{ moduleName: 'm', modulesLoadingOrder: ['m', 'n', 'o'] }, 'modprobe -rv -d /opt m n o'],
  ])('unloads %j with %s', (modprobe, command) => {
    expect(`modprobe ${variablesFor(modprobe)['KMM_UNLOAD']}`).toBe(command);
  });

  it.each([
    [{ moduleName: 'm', dirName: '/kmods/' }, '/kmods'],
    [{ rawArgs: { load: ['-d', '/raw', 'm'], unload: ['-r', 'm'] } }, '/raw'],
    [{ rawArgs: { load: ['-vd', '/raw/', 'm'], unload: ['-r', 'm'] } }, '/raw'],
    [{ rawArgs: { load: ['-d/raw', 'm'], unload: ['-r', 'm'] } }, '/raw'],
    [{ rawArgs: { load: ['--dirname=/raw', 'm'], unload: ['-r', 'm'] } }, '/raw'],
    [{ rawArgs: { load: ['-C', '/etc/d', 'm', 'debug=/d'], unload: ['-r', 'm'] } }, '/'],
  ])('names the directory that %j loads from', (modprobe, directory) => {
    expect(variablesFor(modprobe)['KMM_DIRECTORY']).toBe(directory);
  });

  it('names the version beside a release that ends in +, unless the arguments are given raw', () => {
    expect(variablesFor({ moduleName: 'm' }, '6.1.0+')).toMatchObject({
      KMM_RELEASE: '6.1.0+',
      KMM_VERSION: '6.1.0',
    });
    const rawArgs = { load: ['m'], unload: ['-r', 'm'] };
    expect(variablesFor({ rawArgs }, '6.1.0+')['KMM_VERSION']).toBe('');
  });

  it('names soft dependencies in the order of loading', () => {
    const order = modprobeSchema.parse({ moduleName: 'm', modulesLoadingOrder: ['m', 'n', 'o'] });
    expect(softDependencies(order)).toBe('softdep m pre: n\nsoftdep n pre: o\n');
    expect(softDependencies(modprobeSchema.parse({ moduleName: 'm' }))).toBeUndefined();
  });

  it('quotes words so that a shell gives them back', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', ' ', "'", '"', '$', '`', '\\', '\n', '*', ';', '-', '!') }),
        (word) => {
          const printed = execFileSync('/bin/sh', ['-c', `printf %s ${quote(word)}`], { encoding: 'utf8' });
          expect(printed).toBe(word);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('survives the expansion of variables in commands of containers', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', '$', '(', ')', '{') }), (text) => {
        expect(expandedByKubernetes(escapeReferences(text))).toBe(text);
      }),
    );
  });
});

/** As Kubernetes expands `$(NAME)` with every variable set (third_party/forked/golang/expansion). */
function expandedByKubernetes(text: string): string {
  return text.replaceAll(/\$\$|\$\([^)]*\)/g, (found) => (found === '$$' ? '$' : 'expanded'));
}
