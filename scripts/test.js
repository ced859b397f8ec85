// Runs the tests on the project's own Node, whichever Node npm itself runs on.
//
//     node scripts/test.js [--secure-boot | --extended] [vitest's arguments...]
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const bundled = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));
const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url));
const node = existsSync(bundled) ? bundled : process.execPath;

/** Tests that are left out otherwise. */
const groups = ['--secure-boot', '--extended'];
const args = process.argv.slice(2).filter((argument) => !groups.includes(argument));
const group = groups.find((one) => process.argv.includes(one))?.slice(2);
const { status, error } = spawnSync(node, [vitest, 'run', ...args], {
  stdio: 'inherit',
  env: {
    ...process.env,
    PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}`,
    ...(group === undefined ? {} : { KMM_SIGN_TEST_GROUP: group }),
  },
});
if (error) console.error(error.message);
process.exitCode = status ?? 1;
