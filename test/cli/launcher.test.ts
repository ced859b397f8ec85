import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { findOldNode } from './old-node.ts';
import { program, runProgram } from './run-program.ts';
import { describeWith } from '../support/programs.ts';

const execute = promisify(execFile);

const old = findOldNode();
const oldNode = old?.path ?? '';

describe.skipIf(old === undefined)('on a Node that is too old', () => {
  test('the program runs all the same, on the newer one', async () => {
    const { stdout, exitCode } = await runProgram(['version', '--format', 'json'], { node: oldNode });
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ node: process.versions.node });
  });

  test('the library says which Node it needs', async () => {
    const library = new URL('../../dist/index.js', import.meta.url).href;
    const code = `import(${JSON.stringify(library)}).catch((error) => console.log(error.message))`;
    const { stdout } = await execute(oldNode, ['-e', code]);
    expect(stdout).toBe(`kmm-sign needs Node 24 or newer, this is ${old?.version}\n`);
  });

  test('the exit code is passed on', async () => {
    expect((await runProgram(['nonsense'], { node: oldNode })).exitCode).toBe(2);
  });

  test.each(['SIGINT', 'SIGTERM'] as const)('%s reaches the program', async (signal) => {
    const directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
    const child = spawn(oldNode, [program, 'registry', '--root', directory, '--listen', '127.0.0.1:0']);
    await once(child.stdout, 'data');
    child.kill(signal);
    const [exitCode] = await once(child, 'exit');
    expect(exitCode).toBe(0);
    await rm(directory, { recursive: true, force: true });
  });
});

describeWith(['bash'], 'a reader that stops reading', ({ bash }) => {
  test('is no reason to complain', async () => {
    const command = `'${process.execPath}' '${program}' env | head -n 1; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = await execute(bash, ['-c', command]);
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('0');
    expect(stderr).toBe('');
  });
});
