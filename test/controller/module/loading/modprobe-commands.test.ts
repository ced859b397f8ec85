import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { modprobe as modprobeSchema } from '../../../../src/api/module/modprobe.ts';
import { parseKernel } from '../../../../src/builder/kernel.ts';
import {
  loadCommand,
  softDependencies,
  unloadCommand,
  type ModprobeOptions,
  quote,
} from '../../../../src/controller/module/loading/modprobe-commands.ts';

function options(modprobe: object, changes: Partial<ModprobeOptions> = {}): ModprobeOptions {
  return {
    modprobe: modprobeSchema.parse(modprobe),
    kernel: parseKernel('5.14.0'),
    inTreeModulesToRemove: [],
    ...changes,
  };
}

describe('the commands of a module loader', () => {
  it.each([
    [{ moduleName: 'm' }, 'modprobe -v -d /opt m'],
    [
      { moduleName: 'm', parameters: ['a=1', 'b=2'], firmwarePath: '/firmware' },
      'cp -r /firmware/* /var/lib/firmware && modprobe -v -d /opt m a=1 b=2',
    ],
    [{ moduleName: 'm', args: { load: ['-v', '-f'] } }, 'modprobe -v -f -d /opt m'],
    [{ rawArgs: { load: ['-d', '/opt', 'm'], unload: ['-r', 'm'] } }, 'modprobe -d /opt m'],
    [{ moduleName: 'm', dirName: '/kmods' }, 'modprobe -v -d /kmods m'],
  ])('load %j with %s', (modprobe, command) => {
    expect(loadCommand(options(modprobe))).toBe(command);
  });

  it.each([
    [{ moduleName: 'm', parameters: ['a=1'] }, 'modprobe -rv -d /opt m'],
    [{ moduleName: 'm', args: { unload: ['-r', '-f'] } }, 'modprobe -r -f -d /opt m'],
    [{ rawArgs: { load: ['m'], unload: ['-r', 'm'] } }, 'modprobe -r m'],
    [{ moduleName: 'm', modulesLoadingOrder: ['m', 'n', 'o'] }, 'modprobe -rv -d /opt m n o'],
  ])('unload %j with %s', (modprobe, command) => {
    expect(unloadCommand(options(modprobe))).toBe(command);
  });

  it('name soft dependencies in the order of loading', () => {
    const { modprobe } = options({ moduleName: 'm', modulesLoadingOrder: ['m', 'n', 'o'] });
    expect(softDependencies(modprobe)).toBe('softdep m pre: n\nsoftdep n pre: o\n');
    expect(softDependencies(options({ moduleName: 'm' }).modprobe)).toBeUndefined();
  });

  it('quote words so that a shell gives them back', () => {
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
});

describe('the commands of a module loader, run by a shell', () => {
  let directory: string;
  const at = (...names: string[]): string => join(directory, ...names);

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'kmm-sign-test-'));
    for (const name of ['bin', 'firmware/sub/deep', 'host/sub', 'opt/lib/modules/6.1.0']) {
      mkdirSync(at(name), { recursive: true });
    }
    // Writes down what it was called with.
    writeFileSync(at('bin', 'modprobe'), `#!/bin/sh\nprintf '%s\\n' "$@" >> "${directory}/calls"\n`);
    chmodSync(at('bin', 'modprobe'), 0o755);
    writeFileSync(at('firmware', 'a.bin'), 'a');
    writeFileSync(at('firmware', 'sub', 'deep', 'b.bin'), 'b');
    writeFileSync(at('host', 'sub', 'foreign.bin'), 'theirs');
  });

  afterEach(() => rmSync(directory, { recursive: true }));

  function run(command: string): string[] {
    execFileSync('/bin/sh', ['-c', command], { env: { PATH: `${at('bin')}:/usr/bin:/bin` } });
    const calls = readFileSync(at('calls'), 'utf8').trimEnd().split('\n');
    rmSync(at('calls'));
    return calls;
  }

  it('copy firmware to the node, and take away again what they brought', () => {
    const withFirmware = options(
      { moduleName: 'm', firmwarePath: at('firmware') },
      { firmwareDirectory: at('host') },
    );
    expect(run(loadCommand(withFirmware))).toEqual(['-v', '-d', '/opt', 'm']);
    expect(readFileSync(at('host', 'sub', 'deep', 'b.bin'), 'utf8')).toBe('b');
    expect(run(unloadCommand(withFirmware))).toEqual(['-rv', '-d', '/opt', 'm']);
    expect(readdirSync(at('host'))).toEqual(['sub']);
    expect(readdirSync(at('host', 'sub'))).toEqual(['foreign.bin']);
  });

  it('unload the module even when the firmware is gone already', () => {
    rmSync(at('firmware'), { recursive: true });
    const gone = options(
      { moduleName: 'm', firmwarePath: at('firmware') },
      { firmwareDirectory: at('host') },
    );
    expect(run(unloadCommand(gone))).toEqual(['-rv', '-d', '/opt', 'm']);
  });

  it('do not run what is written into names and parameters', () => {
    const hostile = options({
      moduleName: 'm',
      dirName: `/opt; touch ${at('owned')}`,
      parameters: [`a=$(touch ${at('owned')})`, "b='"],
    });
    expect(run(loadCommand(hostile))).toEqual([
      '-v',
      '-d',
      `/opt; touch ${at('owned')}`,
      'm',
      `a=$(touch ${at('owned')})`,
      "b='",
    ]);
    expect(existsSync(at('owned'))).toBe(false);
  });

  it('leave in-tree modules alone that are not loaded', () => {
    const replaced = options({ moduleName: 'm' }, { inTreeModulesToRemove: ['no-such-module'] });
    expect(run(loadCommand(replaced))).toEqual(['-v', '-d', '/opt', 'm']);
  });

  it('find the directory of a kernel whose release ends in +', () => {
    const kernel = parseKernel('6.1.0+');
    const plus = options({ moduleName: 'm', dirName: at('opt') }, { kernel });
    expect(run(loadCommand(plus))).toEqual(['-S', '6.1.0', '-v', '-d', at('opt'), 'm']);
    mkdirSync(at('opt/lib/modules/6.1.0+'));
    expect(run(loadCommand(plus))).toEqual(['-v', '-d', at('opt'), 'm']);
  });
});
