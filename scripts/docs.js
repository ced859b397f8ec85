// Writes docs/cli.md from the command tree. With --check, only tells whether the file is up to date.
import { readFile, writeFile } from 'node:fs/promises';
import { format } from './docs-format.js';
import { commandTree, flattenTree } from '../src/cli/completion/tree.ts';
import { examples } from '../src/cli/options/examples.ts';
import { exitCodeMeanings, exitCodes } from '../src/cli/output/exit-codes.ts';
import { environmentVariable } from '../src/cli/options/environment.ts';
import { buildProgram } from '../src/cli/program.ts';
import { Runtime } from '../src/cli/session/runtime.ts';

const file = new URL('../docs/cli.md', import.meta.url);
const tree = commandTree(buildProgram(new Runtime(new AbortController().signal)));
const text = format({
  commands: flattenTree(tree),
  examples,
  exitCodes,
  exitCodeMeanings,
  environmentVariable,
});

if (!process.argv.includes('--check')) {
  await writeFile(file, text);
} else if ((await readFile(file, 'utf8')) !== text) {
  process.stderr.write('docs/cli.md is not fresh: run npm run docs\n');
  process.exitCode = 1;
}
