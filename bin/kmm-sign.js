#!/usr/bin/env node
// Starts the program on a Node that is new enough: this one, or the one that the npm package `node` brings.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const oldest = 24;

if (Number(process.versions.node.split('.')[0]) >= oldest) {
  await import('../dist/cli.js');
} else {
  const bundled = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));
  if (!existsSync(bundled)) {
    process.stderr.write(`kmm-sign: Node ${oldest} or newer is needed, this is ${process.version}\n`);
    process.exit(1);
  }
  const { status } = spawnSync(bundled, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  process.exitCode = status ?? 1;
}
