import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runProgram } from './run-program.ts';
import { describeWith } from '../support/programs.ts';

const execute = promisify(execFile);

let directory: string;

/** Writes the completion script of a shell to a file. */
async function script(shell: string): Promise<string> {
  const { stdout, exitCode } = await runProgram(['completion', shell]);
  expect(exitCode).toBe(0);
  const file = join(directory, shell);
  await writeFile(file, stdout);
  return file;
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

describeWith(['bash'], 'completion in bash', ({ bash }) => {
  /** What bash offers for the last of some words. */
  async function complete(...words: string[]): Promise<string[]> {
    const file = await script('bash');
    const line = words.map((word) => `'${word}'`).join(' ');
    const program = `source ${file}; COMP_WORDS=(kmm-sign ${line}); COMP_CWORD=${words.length}; _kmm_sign 2>/dev/null; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout } = await execute(bash, ['--norc', '-c', program]);
    return stdout.split('\n').filter((word) => word !== '');
  }

  test('offers the commands', async () => {
    expect(await complete('s')).toEqual(['sign', 'sign-file']);
  });

  test('offers the options of the command, and those of every command', async () => {
    const offered = await complete('sign', '--');
    expect(offered).toEqual(expect.arrayContaining(['--key', '--from-ca-file', '--format']));
    expect(offered).not.toContain('--listen');
  });

  test('offers the values of an option', async () => {
    expect(await complete('sign', '--mode', '')).toEqual(['rewrite', 'append']);
    expect(await complete('--format', 'j')).toEqual(['json']);
  });

  test('offers the commands of a group and the words of an argument', async () => {
    expect(await complete('compat', '')).toContain('signimage');
    expect(await complete('completion', 'b')).toEqual(['bash']);
  });
});

describeWith(['zsh'], 'completion in zsh', ({ zsh }) => {
  test('loads', async () => {
    const file = await script('zsh');
    const { stderr } = await execute(zsh, [
      '-f',
      '-c',
      `autoload -U compinit; compinit -D; source ${file}; whence -w _kmm-sign_sign`,
    ]);
    expect(stderr).toBe('');
  });
});

describeWith(['fish'], 'completion in fish', ({ fish }) => {
  test('offers commands and values', async () => {
    const file = await script('fish');
    const ask = async (line: string) =>
      (
        await execute(fish, ['--no-config', '-c', `source ${file}; complete -C '${line}'`], {
          env: { ...process.env, HOME: directory },
        })
      ).stdout;
    expect(await ask('kmm-sign ver')).toMatch(/^verify\t/m);
    expect(await ask('kmm-sign sign --mode ')).toMatch(/^rewrite/m);
  });
});

describe('completion', () => {
  test('knows no other shell', async () => {
    expect((await runProgram(['completion', 'csh'])).exitCode).toBe(2);
  });
});
