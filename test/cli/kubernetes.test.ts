import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runProgram } from './run-program.ts';

const fixture = new URL('../../fixtures/hello/hello.ko', import.meta.url);

let directory: string;
let env: Record<string, string>;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
  await runProgram(['keygen', '-o', directory, '--bits', '2048']);
  const data = {
    key: (await readFile(join(directory, 'signing_key.key'))).toString('base64'),
    cert: (await readFile(join(directory, 'signing_key.der'))).toString('base64'),
  };
  await writeFile(join(directory, 'secret.json'), JSON.stringify({ kind: 'Secret', data }));
  await mkdir(join(directory, 'bin'));
  // Stands for kubectl: knows one Secret, and notes what it was asked.
  const kubectl = [
    '#!/bin/sh',
    `echo "$@" >> ${directory}/asked`,
    `[ "$3" = signing ] || { echo "Error from server (NotFound)" >&2; exit 1; }`,
    `cat ${directory}/secret.json`,
  ];
  await writeFile(join(directory, 'bin', 'kubectl'), `${kubectl.join('\n')}\n`, { mode: 0o755 });
  env = { PATH: `${join(directory, 'bin')}:${process.env['PATH'] ?? ''}` };
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe('a key in a Kubernetes Secret', () => {
  test('is read as kubectl is set up', async () => {
    const module = join(directory, 'module.ko');
    await copyFile(fixture, module);
    const secret = 'k8s://kmm-operator/signing';
    const { exitCode, stderr } = await runProgram(['sign-file', '--key', secret, '--cert', secret, module], {
      env,
    });
    expect(stderr).toBe('');
    expect(exitCode).toBe(0);
    expect((await readFile(module)).toString('latin1')).toMatch(/~Module signature appended~\n$/);
    expect(await readFile(join(directory, 'asked'), 'utf8')).toContain(
      'get secret signing -n kmm-operator -o json',
    );
  });

  test.each([
    { secret: 'k8s://kmm-operator/other', reason: /kubectl failed/ },
    { secret: 'k8s://kmm-operator/signing/absent', reason: /has no key absent/ },
    { secret: 'k8s://kmm-operator/--all', reason: /not a name/ },
    { secret: 'k8s://UPPER/signing', reason: /not a name/ },
  ])('gets exit code 13 when it cannot be: $secret', async ({ secret, reason }) => {
    const { exitCode, stderr } = await runProgram(['sign-file', '--key', secret, '--cert', secret, 'x.ko'], {
      env,
    });
    expect(stderr).toMatch(reason);
    expect(exitCode).toBe(13);
  });

  test('is out of reach without kubectl, and says so', async () => {
    const words = ['sign-file', '--key', 'k8s://a/b', '--cert', 'c', 'x.ko'];
    const { exitCode, stderr } = await runProgram(words, { env: { PATH: '/nonexistent' } });
    expect(stderr).toContain('kubectl is not installed');
    expect(exitCode).toBe(13);
  });
});
