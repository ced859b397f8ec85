import { execFile, spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { finished } from '../cli/run-program.ts';
import { describeWith } from '../support/programs.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const directory = `${root}.github/workflows/`;

describeWith(['actionlint'], 'a workflow of GitHub Actions', ({ actionlint }) => {
  async function lint(workflow: string) {
    const child = spawn(actionlint, ['-no-color', '-'], { cwd: root });
    child.stdin.end(workflow);
    return finished(child);
  }

  it('passes actionlint, runs only scripts of this repository, and pins actions by commit', async () => {
    const names = await readdir(directory);
    const files = names.map((name) => `${directory}${name}`);
    await promisify(execFile)(actionlint, ['-no-color', ...files], { cwd: root });
    for (const file of files) {
      const actions = Array.from(
        (await readFile(file, 'utf8')).matchAll(/uses: (.*)/g),
        ([, action]) => action,
      );
      for (const action of actions) expect(action).toMatch(/^[\w-]+\/[\w-]+@[0-9a-f]{40} # v[\d.]+$/);
    }
  });

  it('passes actionlint as docs/ci.md shows it, and not with a name that nothing has', async () => {
    const text = await readFile(`${root}docs/ci.md`, 'utf8');
    const blocks = Array.from(text.matchAll(/```yaml\n([^]*?)```/g), ([, yaml = '']) => yaml);
    const workflow = blocks.find((yaml) => yaml.includes('OWNER/kmm-sign@')) ?? '';
    expect(await lint(workflow)).toMatchObject({ exitCode: 0, stdout: '' });
    const wrong = await lint(workflow.replace('steps.sign.outputs', 'steps.signing.outputs'));
    expect(wrong.exitCode).toBe(1);
    expect(wrong.stdout).toContain('"signing"');
  });
});
