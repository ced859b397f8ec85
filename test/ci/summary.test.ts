import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../src/shared/temporary.ts';

const root = new URL('../../', import.meta.url);
const vitest = fileURLToPath(new URL('node_modules/vitest/vitest.mjs', root));
const summary = fileURLToPath(new URL('scripts/ci-summary.js', root));

interface Summary {
  readonly code: number;
  readonly lines: readonly string[];
}

let directory: TemporaryDirectory;

beforeAll(async () => {
  directory = await createTemporaryDirectory();
});
afterAll(() => directory[Symbol.asyncDispose]());

function run(args: readonly string[]): Promise<{ code: number; stdout: string }> {
  const env = { ...process.env, CI: 'true', KMM_SIGN_TEST_REPORT: '' };
  return promisify(execFile)(process.execPath, args, { cwd: directory.path, env }).then(
    ({ stdout }) => ({ code: 0, stdout }),
    (error: unknown) => error as { code: number; stdout: string },
  );
}

/** What CI's summary says of tests, after vitest ran them as CI does. */
async function summaryOf(tests: string, files: Readonly<Record<string, string>> = {}): Promise<Summary> {
  await using results = await createTemporaryDirectory();
  await writeFile(join(directory.path, 'one.test.js'), tests);
  const report = ['--reporter=json', `--outputFile=${join(results.path, 'tests.json')}`];
  await run([vitest, 'run', '--globals', '--retry=1', `--root=${directory.path}`, ...report]);
  for (const [name, text] of Object.entries(files)) await writeFile(join(results.path, name), text);
  const { code, stdout } = await run([summary, results.path]);
  return { code, lines: stdout.trimEnd().split('\n') };
}

it('names a test that passed only at its second try, and why it failed before', async () => {
  const tests = `
    let tries = 0;
    describe('a server', () => {
      test('answers', () => { tries += 1; expect(tries).toBe(2); });
      test('stays', () => {});
    });`;
  expect(await summaryOf(tests)).toEqual({
    code: 0,
    lines: [
      'flaky: a server answers: AssertionError: expected 1 to be 2 // Object.is equality',
      '1 passed only at another try, see "flaky" above',
      '2 passed, 0 failed, 0 skipped',
    ],
  });
});

it('names what failed at both tries, and what was skipped, and lets neither pass', async () => {
  expect(
    await summaryOf(`test('fails', () => { throw new Error('no'); }); test('holds', () => {});`),
  ).toEqual({
    code: 1,
    lines: ['failed: fails', '1 passed, 1 failed, 0 skipped'],
  });
  expect(await summaryOf(`test.skip('is left out', () => {}); test('holds', () => {});`)).toEqual({
    code: 1,
    lines: ['skipped: is left out', '1 passed, 0 failed, 1 skipped'],
  });
});

it('counts a file that cannot be loaded, and steps that are no tests, and says how long steps took', async () => {
  const files = { 'lint.passed': '', 'lint.seconds': '12\n', 'types.failed': '', 'types.seconds': '31\n' };
  const { code, lines } = await summaryOf(`throw new Error('no file');`, files);
  expect(code).toBe(1);
  expect(lines).toEqual([
    expect.stringMatching(/^failed: .*one\.test\.js: .*no file/),
    'failed: step types',
    'durations: types 31 s, lint 12 s',
    '1 passed, 2 failed, 0 skipped',
  ]);
});

it('does not pass where nothing ran', async () => {
  await using results = await createTemporaryDirectory();
  expect(await run([summary, results.path])).toMatchObject({
    code: 1,
    stdout: '0 passed, 0 failed, 0 skipped\n',
  });
});
