import { spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import * as z from 'zod';
import { finished, type Finished } from '../run-program.ts';

const root = new URL('../../../', import.meta.url);

const actionSchema = z.object({
  inputs: z.record(z.string(), z.object({ default: z.string().optional() })),
  outputs: z.record(z.string(), z.object({ description: z.string() })),
  runs: z.object({ using: z.string(), main: z.string() }),
});

/** What action.yml says. Its bundle is built with bin/kmm-sign.js. */
export async function readAction() {
  return actionSchema.parse(parse(await readFile(new URL('action.yml', root), 'utf8')));
}

const workflowSchema = z.object({
  jobs: z.object({
    sign: z.object({
      strategy: z.object({ matrix: z.object({ kernel: z.array(z.string()) }) }),
      env: z.record(z.string(), z.string()),
      steps: z.array(z.object({ id: z.string().optional(), with: z.record(z.string(), z.string()) })),
    }),
  }),
});

/** The job of the workflow in docs/ci.md. */
export async function documentedJob() {
  const text = await readFile(new URL('docs/ci.md', root), 'utf8');
  const blocks = Array.from(text.matchAll(/```yaml\n([^]*?)```/g), ([, yaml = '']) => yaml);
  const workflow = blocks.find((yaml) => yaml.includes('OWNER/kmm-sign@'));
  const { strategy, ...job } = workflowSchema.parse(parse(workflow ?? '')).jobs.sign;
  return { ...job, kernels: strategy.matrix.kernel };
}

export interface StepResult extends Finished {
  readonly outputs: Readonly<Record<string, string>>;
  readonly summary: string;
}

/**
 * Runs the action as GitHub's runner does: with the inputs of `with:` and the defaults of action.yml in `INPUT_…`, files
 * for outputs and summary, and of the checkout nothing but the file that action.yml names.
 */
export async function runStep(
  directory: string,
  inputs: Readonly<Record<string, string>>,
  env: Readonly<Record<string, string>> = {},
): Promise<StepResult> {
  const action = await readAction();
  for (const name of Object.keys(inputs))
    if (!Object.hasOwn(action.inputs, name)) throw new Error(`action.yml has no input ${name}`);
  const step = await mkdtemp(join(directory, 'step-'));
  const main = join(step, 'action.mjs');
  await copyFile(fileURLToPath(new URL(action.runs.main, root)), main);
  const [outputFile, summaryFile] = [join(step, 'output'), join(step, 'summary')];
  await Promise.all([outputFile, summaryFile].map((file) => writeFile(file, '')));
  await mkdir(join(step, 'temp'));
  const values = Object.entries(action.inputs).map(([name, input]) => [
    `INPUT_${name.toUpperCase()}`,
    inputs[name] ?? input.default ?? '',
  ]);
  const child = spawn(process.execPath, [main], {
    cwd: step,
    env: {
      PATH: process.env['PATH'],
      HOME: '/nonexistent',
      XDG_CACHE_HOME: '/dev/null',
      CI: 'true',
      GITHUB_ACTIONS: 'true',
      GITHUB_OUTPUT: outputFile,
      GITHUB_STEP_SUMMARY: summaryFile,
      RUNNER_TEMP: join(step, 'temp'),
      ...Object.fromEntries(values),
      ...env,
    },
  });
  child.stdin.end();
  const ended = await finished(child);
  return {
    ...ended,
    outputs: parseOutputs(await readFile(outputFile, 'utf8')),
    summary: await readFile(summaryFile, 'utf8'),
  };
}

/** Reads `NAME<<DELIMITER`, lines, `DELIMITER`, as the runner does. */
function parseOutputs(text: string): Record<string, string> {
  const found = text.matchAll(/^(?<name>[^<\n]+)<<(?<end>.+)\n(?<value>[^]*?)\n?^\k<end>$/gm);
  return Object.fromEntries(
    Array.from(found, ({ groups }) => [groups?.['name'] ?? '', groups?.['value'] ?? '']),
  );
}

/** What a runner shows of the log: commands are carried out and not shown, and masked values are stars. */
export function shownLog({ stdout, stderr }: Finished): string {
  const masked: string[] = [];
  let ignoredUntil: string | undefined;
  const shown: string[] = [];
  for (const line of `${stdout}\n${stderr}`.split('\n')) {
    const [, command = '', data = ''] = /^::([a-z-]+)(?: [^:]*)?::(.*)$/.exec(line) ?? [];
    if (ignoredUntil !== undefined) {
      if (line === `::${ignoredUntil}::`) ignoredUntil = undefined;
      else shown.push(line);
    } else if (command === 'stop-commands') ignoredUntil = data;
    else if (command === 'add-mask')
      masked.push(
        ...decodeURIComponent(data)
          .split(/\r?\n/)
          .filter((one) => one !== ''),
      );
    else shown.push(line);
  }
  return masked.reduce((text, secret) => text.replaceAll(secret, '***'), shown.join('\n'));
}
