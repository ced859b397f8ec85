import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { commandTree, flattenTree } from '../../src/cli/completion/tree.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { Runtime } from '../../src/cli/session/runtime.ts';
import { runProgram } from './run-program.ts';

const paths = flattenTree(commandTree(buildProgram(new Runtime(new AbortController().signal))))
  .map(({ path }) => path)
  .filter((path) => path !== '');

/** The lines of a help text below its last heading, if that says that they are examples. */
function examplesOf(help: string): string[] {
  const [, lines = ''] = /\nExamples?:\n((?: {2}\S.*\n)+)$/.exec(help) ?? [];
  return lines.split('\n').filter((line) => line !== '');
}

/** The options of a command line: what begins with a dash. */
const optionsOf = (line: string): string[] => line.split(' ').filter((word) => /^--?[a-z]/.test(word));

describe('the help text of every command ends with examples', () => {
  test.each(paths)('kmm-sign %s', async (path) => {
    const { stdout, exitCode } = await runProgram([...path.split(' '), '--help']);
    expect(exitCode).toBe(0);
    const examples = examplesOf(stdout);
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) {
      expect(example).toContain(`kmm-sign ${path}`);
      for (const option of optionsOf(example)) expect(stdout).toContain(option);
    }
  });

  test('kmm-sign itself', async () => {
    const { stdout } = await runProgram(['--help']);
    expect(examplesOf(stdout)[0]).toBe('  kmm-sign demo');
  });

  const operator = fileURLToPath(new URL('../../bin/kmm-operator.js', import.meta.url));
  const runOperator = (args: readonly string[]) =>
    spawnSync(process.execPath, [operator, ...args], { encoding: 'utf8' });

  test.each(['run', 'hub', 'webhook', 'version'])('kmm-operator %s', (command) => {
    const { stdout, status } = runOperator([command, '--help']);
    expect(status).toBe(0);
    const examples = examplesOf(stdout);
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) {
      expect(example).toContain(`kmm-operator ${command}`);
      for (const option of optionsOf(example)) expect(stdout).toContain(option);
    }
  });

  test('kmm-operator itself', () => {
    expect(examplesOf(runOperator(['--help']).stdout).length).toBeGreaterThan(1);
  });
});

describe('a flag of another operator', () => {
  test.each([
    ['--leader-elect', '--config'],
    ['--metrics-bind-address=:8080', '--config'],
    ['-v=4', '--log-level debug'],
    ['--zap-log-level=debug', '--log-level debug'],
  ])('%s is answered with ours', (flag, advice) => {
    const operator = fileURLToPath(new URL('../../bin/kmm-operator.js', import.meta.url));
    const { stderr, status } = spawnSync(process.execPath, [operator, flag], { encoding: 'utf8' });
    expect(stderr).toContain(advice);
    expect(status).toBe(2);
  });
});
