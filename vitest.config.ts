import { env } from 'node:process';
import { defineConfig } from 'vitest/config';
import { sortTestFiles } from './test/support/test-files.ts';

/** A file for the results as JSON, which `.ci/run` counts. */
const report = env['KMM_SIGN_TEST_REPORT'];

/** Tests that take minutes each: `npm run test:secure-boot`, `npm run test:extended`. */
const groups = ['secure-boot', 'extended'];
const wanted = groups.find((group) => group === env['KMM_SIGN_TEST_GROUP']);

const files = sortTestFiles();
const included = (list: readonly string[]): string[] =>
  list.filter((file) => groups.find((group) => file.startsWith(`test/${group}/`)) === wanted);

export default defineConfig({
  test: {
    // The program is bundled only when a test that runs it is to run.
    projects: [
      {
        extends: true,
        test: {
          name: 'program',
          include: included(files.program),
          globalSetup: ['test/cli/build-program.ts'],
        },
      },
      { extends: true, test: { name: 'sources', include: included(files.sources) } },
    ],
    testTimeout: 60_000,
    hookTimeout: 180_000,
    setupFiles: ['test/support/setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // Real servers on a busy machine: what fails once and then holds is reported as flaky, not as broken.
    retry: env['CI'] === 'true' ? 1 : 0,
    ...(report === undefined ? {} : { reporters: ['default', 'json'], outputFile: { json: report } }),
  },
});
