import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { runProgram } from './run-program.ts';

const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));

describe('what is not understood', () => {
  test.each([
    { args: [], what: 'no command' },
    { args: ['nonsense'], what: 'an unknown command' },
    { args: ['compat'], what: 'a group without a command' },
  ])('$what gets exit code 2', async ({ args }) => {
    const { exitCode, stderr } = await runProgram(args);
    expect(exitCode).toBe(2);
    expect(stderr).not.toBe('');
  });

  test.each([
    { args: ['sign', 'a', 'b', '--bogus'], message: /unknown option/i },
    { args: ['sign', 'a'], message: /missing required argument/i },
    { args: ['sign', 'a', 'b'], message: /--key is required/ },
    { args: ['verify', 'a'], message: /--cert is required/ },
    { args: ['extract', 'a'], message: /--output is required/ },
    { args: ['registry'], message: /--root is required/ },
    { args: ['resolve', 'a', 'b'], message: /too many arguments/i },
    { args: ['resolve', 'a.example/UPPER'], message: /not an image reference/ },
    { args: ['resolve', 'a', '--platform', 'linux'], message: /platform/ },
    { args: ['sign', 'a', 'b', '--hash', 'md5'], message: /md5/ },
    { args: ['version', '--timeout', '10'], message: /duration/ },
    { args: ['sign', 'a', 'b', '--key', 'k', '--compression-level', '20'], message: /whole number/ },
    { args: ['completion', 'tcsh'], message: /tcsh/ },
    { args: ['exists', 'a', '--username', 'u'], message: /without a password/ },
    { args: ['exists', 'a', '--password-stdin'], message: /without a username/ },
    { args: ['exists', 'a', '--cert-file', 'c'], message: /belong together/ },
    { args: ['registry', '--root', '/tmp', '--listen', 'localhost'], message: /address to listen on/ },
    { args: ['compat', 'signimage', '-bogus'], message: /-bogus/ },
    { args: ['compat', 'signimage'], message: /-unsignedimage is required/ },
    { args: ['sign-file', 'sha256', 'key'], message: /not valid for sign-file/ },
    { args: ['sign-file', 'md5', 'key', 'cert', 'a.ko'], message: /"md5" is not a digest algorithm/ },
    { args: ['sign-file', 'SHA3-256', 'key', 'cert', 'a.ko'], message: /"SHA3-256" is not a digest/ },
    { args: ['sign-file', 'sm4711', 'k', 'c', 'a.ko', 'b.ko'], message: /"sm4711" is not a digest/ },
    { args: ['sign-file', 'tiger', 'key', 'cert', 'a.ko'], message: /"tiger" is not a digest algorithm/ },
    { args: ['sign-file', '-s', 'cms', 'sha-9', 'cert', 'a.ko'], message: /"sha-9" is not a digest/ },
    { args: ['sign-file', '--key', 'k', '--cert', 'c', 'md5', 'a.ko'], message: /"md5" is not a digest/ },
    { args: ['sign-file', '--key', 'k', '--cert', 'c', 'SHA256', 'a.ko'], message: /write --hash SHA256/ },
    { args: ['resolve', 'https://r.example/d:1'], message: /begins with https:\/\// },
    { args: ['resolve', 'docker-archive:d.tar'], message: /docker-archive: names/ },
  ])('$args gets exit code 2 and a reason', async ({ args, message }) => {
    const { exitCode, stdout, stderr } = await runProgram(args);
    expect(stderr).toMatch(message);
    expect(stderr.split('\n')[0]).toMatch(/^kmm-sign: /);
    expect(stdout).toBe('');
    expect(exitCode).toBe(2);
  });

  test('with --format json the reason is one JSON document on stderr', async () => {
    const { stdout, stderr } = await runProgram(['sign', 'a', 'b', '--format', 'json']);
    expect(stdout).toBe('');
    expect(JSON.parse(stderr)).toMatchObject({ schemaVersion: 1, error: { code: 'USAGE', exitCode: 2 } });
  });

  test('that holds for arguments that could not even be parsed', async () => {
    const { stderr } = await runProgram(['exists', '--bogus', '--format=json']);
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: 'USAGE', message: "Unknown option '--bogus'" },
    });
  });
});

describe('an option of skopeo, crane or cosign is answered with ours', () => {
  test.each([
    { args: ['resolve', 'a', '--tls-verify=false'], advice: /--insecure-skip-tls-verify/ },
    { args: ['verify', 'a', '--insecure'], advice: /--plain-http/ },
    { args: ['inspect', 'a', '--creds', 'alice:wonderland'], advice: /--password-stdin/ },
    { args: ['inspect', 'a', '--creds=alice:wonderland'], advice: /--password-stdin/ },
    { args: ['sign', 'a', 'b', '--password', 'wonderland'], advice: /--password-file FILE/ },
    { args: ['sign', 'a', 'b', "--password=wonder'land"], advice: /--password-file FILE/ },
    { args: ['extract', 'a', '-u', 'alice', '-p', 'wonderland'], advice: /--username NAME/ },
    { args: ['exists', 'a', '--json'], advice: /--format json/ },
    { args: ['verify', 'a', '-o', 'json'], advice: /--format json/ },
    { args: ['verify', 'a', '--key', 'cosign.pub'], advice: /--cert FILE/ },
    { args: ['verify', 'a', '--certificate', 'c.pem'], advice: /--cert FILE/ },
    { args: ['sign', 'a', 'b', '--src-authfile', 'f'], advice: /--from-authfile/ },
    { args: ['sign', 'a', 'b', '--dest-creds=alice:wonderland'], advice: /--to-/ },
    { args: ['sign', 'a', 'b', '--digestfile', 'f'], advice: /--digest-file/ },
    { args: ['resolve', 'a', '--no-creds'], advice: /--anonymous/ },
    { args: ['resolve', 'a', '--plain-http=false'], advice: /takes no value/ },
    { args: ['version', '--verbose'], advice: /--verbosity debug/ },
  ])('$args', async ({ args, advice }) => {
    const { exitCode, stderr } = await runProgram(args);
    expect(stderr).toMatch(/^kmm-sign: Unknown option '-/);
    expect(stderr).toMatch(advice);
    expect(stderr).not.toMatch(/wonder|land|alice/);
    expect(exitCode).toBe(2);
  });

  test('but only where there is one', async () => {
    for (const args of [
      ['keygen', '--creds', 'alice:wonderland'],
      ['registry', '--bogus=wonderland'],
    ]) {
      const { exitCode, stderr } = await runProgram(args);
      expect(stderr).toMatch(/^kmm-sign: Unknown option '--[a-z]+'\nhint: See kmm-sign --help/);
      expect(exitCode).toBe(2);
    }
  });
});

describe('what explains itself', () => {
  test.each([['--version'], ['-V']])('%s prints the version of package.json', async (argument) => {
    const { stdout, exitCode } = await runProgram([argument]);
    expect(manifest).toMatchObject({ version: stdout.trim() });
    expect(exitCode).toBe(0);
  });

  test('--help lists the exit codes and ends well', async () => {
    const { stdout, exitCode } = await runProgram(['--help']);
    expect(exitCode).toBe(0);
    for (const code of [0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 124, 130]) {
      expect(stdout).toMatch(new RegExp(`^  ${code} +\\w`, 'm'));
    }
  });

  test("a command's --help names the environment variable of each option", async () => {
    const { stdout, exitCode } = await runProgram(['sign', '--help']);
    expect(exitCode).toBe(0);
    expect(stdout.replace(/\s+/g, ' ')).toContain('[KMM_SIGN_KEY]');
    expect(stdout).toContain('--from-');
  });

  test('compat signimage -help lists the flags with one dash', async () => {
    const { stdout, exitCode } = await runProgram(['compat', 'signimage', '-help']);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('-filestosign');
  });
});
