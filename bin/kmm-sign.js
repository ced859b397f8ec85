#!/usr/bin/env node
// Starts the program on a Node that is new enough: this one, or the one that the npm package `node` brings.
// This file itself runs on older ones.
import { existsSync } from 'node:fs';
import * as module from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { fileURLToPath } from 'node:url';

const oldest = 24;
const program = new URL('../dist/cli.js', import.meta.url);
const bundledNode = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));

if (!existsSync(program)) {
  fail('the program has not been built', 'Run npm run build in its directory.');
} else if (Number(process.versions.node.split('.')[0]) >= oldest) {
  // Most of what passes through is short-lived buffers: a young generation that grows only holds on to them.
  setFlagsFromString('--semi-space-growth-factor=1');
  // The heap stays small, and what is outside of it is given back at once: collecting seldom is enough.
  setFlagsFromString('--heap-growing-percent=200');
  // Compiled code is kept beside the program; where that cannot be written, nothing happens.
  module.enableCompileCache(fileURLToPath(new URL('../dist/.compile-cache', import.meta.url)));
  await import(program.href);
} else if (existsSync(bundledNode)) {
  await runWith(bundledNode);
} else {
  fail(
    `Node ${oldest} or newer is needed, this is ${process.version}`,
    'Install a newer Node, or run npm ci here.',
  );
}

/** Runs this file with another Node, passes signals on to it, and ends as it does. */
async function runWith(node) {
  const { spawn } = await import('node:child_process');
  // In a process group of its own: else a Ctrl-C would reach it twice, from the terminal and from here.
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: 'inherit',
    detached: true,
  });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  const passOn = (signal) => child.kill(signal);
  for (const signal of signals) process.on(signal, passOn);
  child.on('error', (error) => fail(error.message, `${node} could not be started.`));
  child.on('exit', (code, signal) => {
    for (const one of signals) process.off(one, passOn);
    if (signal === null) process.exitCode = code;
    else process.kill(process.pid, signal);
  });
}

function fail(message, hint) {
  process.stderr.write(`kmm-sign: ${message}\nhint: ${hint}\n`);
  process.exitCode = 1;
}
