import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { loaderProgram, copyProgram } from '../../src/controller/module/loading/loader-program.ts';
import { reportProgram } from '../../src/controller/node-trust/daemon-set.ts';
import { describeWith, requireProgram } from '../support/programs.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** The programs that run on nodes and in clusters. */
const programs = [
  'src/controller/module/loading/loader.sh',
  'src/controller/module/loading/copy-image.sh',
  'src/controller/node-trust/report-trust.sh',
  'scripts/gather.sh',
];

describeWith(['busybox', 'shellcheck'], 'programs for a shell', () => {
  it.each(programs)('give ShellCheck nothing to say: %s', (file) => {
    expect(run('shellcheck', join(root, file))).toBe('');
  });

  it.each(programs)('are understood by the shells of Debian and of busybox: %s', (file) => {
    expect(run('sh', '-n', join(root, file))).toBe('');
    expect(run(requireProgram('busybox'), 'sh', '-n', join(root, file))).toBe('');
  });

  it.each([
    ['loader', loaderProgram],
    ['copying', copyProgram],
    ['reporting', reportProgram],
  ])('are understood without comments and indentation: %s', (_name, text) => {
    expect(run('sh', '-n', '-c', text)).toBe('');
    expect(text).not.toMatch(/^\s|^#/m);
  });
});

/** Returns what a program prints. @throws Error if it fails */
function run(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8' });
}
