import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { reportScript, watchScript } from '../../../src/controller/node-trust/report-script.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../src/shared/temporary.ts';
import { describeWith, requireProgram } from '../../support/programs.ts';

/** Lines of /proc/keys in the form of the kernel (crypto/asymmetric_keys, security/keys/proc.c). */
const keys = [
  '02b57f4f I------     1 perm 1f0b0000     0     0 keyring   .machine: 1',
  '0c805eb5 I------     1 perm 1f0b0000     0     0 keyring   .builtin_trusted_keys: 2',
  '1a2b3c4d I------     1 perm 1f0f0000     0     0 keyring   .secondary_trusted_keys: 1',
  '3d000001 I------     1 perm 1f0f0000     0     0 keyring   .platform: 2',
  '10000001 I------     1 perm 1f030000     0     0 asymmetri Debian Secure Boot CA: 6ccece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1: X509.rsa bb419ea1 []',
  '10000002 I------     1 perm 1f010000     0     0 asymmetri Our key: for modules: 00ff11: X509.rsa 00ff11 []',
  '10000003 I------     1 perm 1f010000     0     0 asymmetri Vendor: UEFI CA: 13adbf4309bd82709c8cd54f316ed522988a1bd4: X509.rsa 988a1bd4 []',
].join('\n');
/** The members of keyrings, as `keyctl rlist` prints them. */
const members = {
  '0x02b57f4f': [0x1000_0002],
  '0x0c805eb5': [0x1000_0001],
  '0x1a2b3c4d': [0x0c80_5eb5],
  '0x3d000001': [0x1000_0001, 0x1000_0003],
};
const keyctl = [
  '#!/bin/sh',
  '[ "$1" = rlist ] || exit 1',
  'case $2 in',
  ...Object.entries(members).map(([ring, all]) => `${ring}) echo "${all.join(' ')}" ;;`),
  '*) exit 1 ;;',
  'esac',
].join('\n');
const variable = 'sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c';

describeWith(['bwrap'], 'the report of what a node trusts', () => {
  let directory: TemporaryDirectory;
  const at = (path: string): string => join(directory.path, path);
  const write = async (path: string, content: string | Buffer, mode = 0o644): Promise<void> => {
    await mkdir(dirname(at(path)), { recursive: true });
    await writeFile(at(path), content, { mode });
  };

  beforeEach(async () => {
    directory = await createTemporaryDirectory();
    await write('proc/keys', `${keys}\n`);
    await write('bin/keyctl', keyctl, 0o755);
    await write('features.d/kmm-trust', '');
    await write('state/report', '');
    await write('termination-log', '');
    await mkdir(at('sys/firmware'), { recursive: true });
  });
  afterEach(() => directory[Symbol.asyncDispose]());

  /** Runs a script where a pod would, and returns its last words. */
  async function run(script: string): Promise<string> {
    const binds = [
      ['proc', '/host/proc'],
      ['sys', '/host/sys'],
      ['state', '/run/kmm-trust'],
      ['features.d', '/host/features.d'],
      ['bin', '/opt'],
    ].flatMap(([from = '', to = '']) => ['--bind', at(from), to]);
    const system = ['usr', 'bin', 'lib', 'lib64', 'etc'].flatMap((name) => [
      '--ro-bind-try',
      `/${name}`,
      `/${name}`,
    ]);
    const log = ['--dev', '/dev', '--bind', at('termination-log'), '/dev/termination-log'];
    const args = [
      ...system,
      ...log,
      ...binds,
      '--setenv',
      'PATH',
      '/opt:/usr/bin:/bin',
      '--',
      '/bin/sh',
      '-c',
      script,
    ];
    await promisify(execFile)(requireProgram('bwrap'), args);
    return readFile(at('termination-log'), 'utf8');
  }

  it('says that Secure Boot is on, that unsigned modules are refused, and which keys are in which keyring', async () => {
    await write(variable, Buffer.from([6, 0, 0, 0, 1]));
    await write('sys/kernel/security/lockdown', 'none [integrity] confidentiality\n');
    await write('sys/module/module/parameters/sig_enforce', 'N\n');
    expect((await run(reportScript('labels'))).trim().split('\n')).toEqual([
      'secure-boot=true',
      'lockdown=integrity',
      'sig-enforce=false',
      'signature-required=true',
      'key-00ff11=true',
      'key-13adbf4309bd82709c8cd54f316ed522988a1bd4=platform',
      'key-6ccece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1=true',
    ]);
  });

  it('says that a machine without UEFI has no Secure Boot, and nothing of what cannot be read', async () => {
    await write('proc/keys', '');
    expect(await run(reportScript('labels'))).toBe('secure-boot=false\n');
  });

  it('says nothing of Secure Boot if its variable cannot be read', async () => {
    await write('proc/keys', '');
    await mkdir(at('sys/firmware/efi/efivars'), { recursive: true });
    expect(await run(reportScript('labels'))).toBe('');
  });

  it('writes the same for Node Feature Discovery, with the names of the labels', async () => {
    await write('sys/kernel/security/lockdown', '[none] integrity confidentiality\n');
    await write('sys/module/module/parameters/sig_enforce', 'N\n');
    await run(reportScript('nfd'));
    expect((await readFile(at('features.d/kmm-trust'), 'utf8')).trim().split('\n')).toEqual([
      'trust.kmm.sigs.x-k8s.io/secure-boot=false',
      'trust.kmm.sigs.x-k8s.io/lockdown=none',
      'trust.kmm.sigs.x-k8s.io/sig-enforce=false',
      'trust.kmm.sigs.x-k8s.io/signature-required=false',
      'key.trust.kmm.sigs.x-k8s.io/00ff11=true',
      'key.trust.kmm.sigs.x-k8s.io/13adbf4309bd82709c8cd54f316ed522988a1bd4=platform',
      'key.trust.kmm.sigs.x-k8s.io/6ccece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1=true',
    ]);
  });

  it('ends with a new report once the facts have changed', async () => {
    await run(reportScript('labels'));
    await write('sys/kernel/security/lockdown', 'none integrity [confidentiality]\n');
    const soon = watchScript('labels').replace('sleep 60', 'sleep 0');
    expect(await run(soon)).toContain('lockdown=confidentiality\n');
  });
});
