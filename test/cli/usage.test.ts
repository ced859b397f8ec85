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
    { args: ['exists', 'a', '--password-stdin'], message: /without a user name/ },
    { args: ['exists', 'a', '--cert-file', 'c'], message: /belong together/ },
    { args: ['registry', '--root', '/tmp', '--listen', 'localhost'], message: /address to listen on/ },
    { args: ['compat', 'signimage', '-bogus'], message: /-bogus/ },
    { args: ['compat', 'signimage'], message: /-unsignedimage is required/ },
    { args: ['sign-file', 'sha256', 'key'], message: /not those of sign-file/ },
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

describe('what explains itself', () => {
  test.each([['--version'], ['-V'], ['version']])(
    '%s prints the version of package.json',
    async (argument) => {
      const { stdout, exitCode } = await runProgram([argument]);
      expect(manifest).toMatchObject({ version: stdout.trim() });
      expect(exitCode).toBe(0);
    },
  );

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
