import { env } from 'node:process';
import { configDefaults, defineConfig } from 'vitest/config';

/** A file for the results as JSON, which `.ci/run` counts. */
const report = env['KMM_SIGN_TEST_REPORT'];

/** Tests that boot a virtual machine take minutes: `npm run test:secure-boot`. */
const bootsMachines = env['KMM_SIGN_TEST_SECURE_BOOT'] === '1';

export default defineConfig({
  test: {
    include: bootsMachines ? ['test/secure-boot/**/*.test.ts'] : ['test/**/*.test.ts'],
    exclude: bootsMachines ? configDefaults.exclude : [...configDefaults.exclude, 'test/secure-boot/**'],
    globalSetup: ['test/cli/build-program.ts'],
    testTimeout: 60_000,
    hookTimeout: 180_000,
    pool: 'forks',
    maxWorkers: 2,
    // Real servers on a busy machine: what fails once and then holds is reported as flaky, not as broken.
    retry: env['CI'] === 'true' ? 1 : 0,
    ...(report === undefined ? {} : { reporters: ['default', 'json'], outputFile: { json: report } }),
  },
});
