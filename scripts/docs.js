// Writes docs/cli.md from the command tree, and the chart's README from its values. With --check, only tells
// whether the files are up to date.
import { readFile, writeFile } from 'node:fs/promises';
import { formatChartReadme } from './chart-readme.js';
import { format } from './docs-format.js';
import { commandTree, flattenTree } from '../src/cli/completion/tree.ts';
import { examples } from '../src/cli/options/examples.ts';
import { exitCodeMeanings, exitCodes } from '../src/cli/output/exit-codes.ts';
import { environmentVariable } from '../src/cli/options/environment.ts';
import { buildProgram } from '../src/cli/program.ts';
import { Runtime } from '../src/cli/session/runtime.ts';

const root = new URL('../', import.meta.url);
const chart = new URL('deploy/chart/kmm-sign/', root);
const tree = commandTree(buildProgram(new Runtime(new AbortController().signal)));
const files = [
  {
    file: new URL('docs/cli.md', root),
    text: format({
      commands: flattenTree(tree),
      examples,
      exitCodes,
      exitCodeMeanings,
      environmentVariable,
    }),
  },
  {
    file: new URL('README.md', chart),
    text: formatChartReadme({
      chart: await readFile(new URL('Chart.yaml', chart), 'utf8'),
      values: await readFile(new URL('values.yaml', chart), 'utf8'),
    }),
  },
];

for (const { file, text } of files) {
  if (!process.argv.includes('--check')) {
    await writeFile(file, text);
  } else if ((await readFile(file, 'utf8').catch(() => '')) !== text) {
    process.stderr.write(`${file.pathname.slice(root.pathname.length)} is not fresh: run npm run docs\n`);
    process.exitCode = 1;
  }
}
