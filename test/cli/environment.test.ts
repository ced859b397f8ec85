import { describe, expect, test } from 'vitest';
import { runProgram } from './run-program.ts';

describe('environment variables stand for options', () => {
  test('a variable sets an option', async () => {
    const { stdout } = await runProgram(['version'], { env: { KMM_SIGN_FORMAT: 'json' } });
    expect(JSON.parse(stdout)).toMatchObject({ schemaVersion: 1, node: process.versions.node });
  });

  test('an option on the command line wins', async () => {
    const { stdout } = await runProgram(['version', '--format', 'text'], {
      env: { KMM_SIGN_FORMAT: 'json' },
    });
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\ncommit /);
  });

  test('a required option may come from its variable', async () => {
    const { stderr, exitCode } = await runProgram(['sign', 'a.example/x', 'a.example/y'], {
      env: { KMM_SIGN_KEY: '/nonexistent/key' },
    });
    expect(stderr).toContain('/nonexistent/key');
    expect(exitCode).toBe(13);
  });

  test('a list is separated by commas or lines', async () => {
    const env = { KMM_SIGN_CERT: '/nonexistent/one.pem, /nonexistent/two.pem' };
    const { stderr } = await runProgram(['verify', 'a.example/x'], { env });
    expect(stderr).toMatch(/The certificate file \/nonexistent\/(?:one|two)\.pem cannot be read/);
  });

  test('an explicit list replaces that of the variable', async () => {
    const env = { KMM_SIGN_CERT: '/nonexistent/variable.pem' };
    const { stderr } = await runProgram(['verify', 'a.example/x', '--cert', '/nonexistent/flag.pem'], {
      env,
    });
    expect(stderr).toContain('/nonexistent/flag.pem');
    expect(stderr).not.toContain('variable.pem');
  });

  test.each(['0', 'false', 'FALSE'])('%s turns a flag off', async (value) => {
    const env = { KMM_SIGN_PASSWORD_STDIN: value, KMM_SIGN_RETRIES: '0', KMM_SIGN_PLAIN_HTTP: '1' };
    const { stderr, exitCode } = await runProgram(['exists', '127.0.0.1:1/x'], { env });
    expect(stderr).not.toContain('without a username');
    // It got as far as the registry that is not there.
    expect(exitCode).toBe(5);
  });

  test.each(['1', 'true'])('%s turns a flag on', async (value) => {
    const { stderr, exitCode } = await runProgram(['exists', '127.0.0.1:1/x'], {
      env: { KMM_SIGN_PASSWORD_STDIN: value },
    });
    expect(stderr).toContain('without a username');
    expect(exitCode).toBe(2);
  });

  test.each([
    { KMM_SIGN_PLAIN_HTTP: 'maybe' },
    { KMM_SIGN_TIMEOUT: 'soon' },
    { KMM_SIGN_FORMAT: 'xml' },
    { KMM_SIGN_RETRIES: '-1' },
  ])('%o is refused by name', async (env) => {
    const { stderr, exitCode } = await runProgram(['exists', '127.0.0.1:1/x'], { env });
    expect(stderr).toContain(Object.keys(env)[0]);
    expect(exitCode).toBe(2);
  });

  test('an empty variable counts as unset', async () => {
    const { exitCode } = await runProgram(['version'], {
      env: { KMM_SIGN_FORMAT: '', KMM_SIGN_TIMEOUT: '' },
    });
    expect(exitCode).toBe(0);
  });

  test('kmm-sign env lists the variable of every option that any --help shows', async () => {
    const { stdout } = await runProgram(['env']);
    const listed = new Set(stdout.split('\n').map((line) => line.split(' ')[0]));
    const commands = [
      'sign',
      'verify',
      'inspect',
      'resolve',
      'exists',
      'extract',
      'sign-file',
      'keygen',
      'registry',
      'demo',
    ];
    const helps = await Promise.all(commands.map((command) => runProgram([command, '--help'])));
    for (const { stdout: help } of helps) {
      for (const [, variable] of help.matchAll(/\[(KMM_SIGN_\w+)\]/g)) expect(listed).toContain(variable);
    }
    expect(listed).toContain('KMM_SIGN_FROM_AUTHFILE');
    expect(listed).toContain('KMM_SIGN_PASSWORD');
  });
});
