import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { exitCodes, errorExitCodes } from '../../src/cli/output/exit-codes.ts';

const root = new URL('../../', import.meta.url);
const documents = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(new URL('docs/', root), { encoding: 'utf8', recursive: true })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

describe('the documentation', () => {
  test('docs/cli.md is what the commands say', async () => {
    const { stderr } = await promisify(execFile)(process.execPath, [
      fileURLToPath(new URL('scripts/docs.js', root)),
      '--check',
    ]);
    expect(stderr).toBe('');
  });

  test('docs/exit-codes.md explains every exit code and every error code', () => {
    const text = readFileSync(new URL('docs/exit-codes.md', root), 'utf8');
    for (const code of Object.values(exitCodes)) expect(text).toMatch(new RegExp(`^\\| ${code} \\|`, 'm'));
    for (const [code, exitCode] of Object.entries(errorExitCodes)) {
      const line = text.split('\n').find((one) => one.startsWith(`| ${exitCode} |`));
      expect(line, `${code} belongs to exit code ${exitCode}`).toContain(`\`${code}\``);
    }
  });

  test.each(documents)('the links of %s lead somewhere', (name) => {
    const text = readFileSync(new URL(name, root), 'utf8');
    const targets = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, target = '']) => target);
    expect(targets.filter((target) => !existsSync(new URL(target, new URL(name, root))))).toEqual([]);
  });
});
