// Starts a program of this package on a recent enough Node: this one, or that of the npm package `node`. This
// file itself runs on older ones.
import { existsSync } from 'node:fs';
import * as module from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { fileURLToPath } from 'node:url';

const oldest = 24;
/** In this package's directory, or next to it if this package was installed as a dependency. */
const bundledNode = ['../node_modules/node/bin/node', '../../node/bin/node']
  .map((path) => fileURLToPath(new URL(path, import.meta.url)))
  .find((path) => existsSync(path));

/**
 * Starts a bundle of dist/ with flags for V8. `launcher` is the URL of the calling file.
 * @param {{ name: string, bundle: string, launcher: string, flags?: readonly string[] }} options
 */
export async function launch({ name, bundle, launcher, flags = [] }) {
  const program = new URL(`../dist/${bundle}`, import.meta.url);
  if (!existsSync(program)) {
    fail(name, 'the program has not been built', 'Run npm run build in its directory.');
  } else if (Number(process.versions.node.split('.')[0]) >= oldest) {
    for (const flag of flags) setFlagsFromString(flag);
    // Compiled code is cached next to the program; if that is not writable, nothing is cached.
    module.enableCompileCache(fileURLToPath(new URL('../dist/.compile-cache', import.meta.url)));
    await import(program.href);
  } else if (bundledNode !== undefined) {
    await runWith(bundledNode, name, launcher);
  } else {
    fail(
      name,
      `Node ${oldest} or newer is needed, this is ${process.version}`,
      'Install a newer Node; or install this package again with its optional dependency, the npm package node, and its scripts.',
    );
  }
}

/** Runs the launcher with another Node, forwards signals to it, and ends with its exit code or signal. */
async function runWith(node, name, launcher) {
  const { spawn } = await import('node:child_process');
  // In a separate process group: otherwise Ctrl-C would reach it twice, from the terminal and from here.
  const child = spawn(node, [fileURLToPath(launcher), ...process.argv.slice(2)], {
    stdio: 'inherit',
    detached: true,
  });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  const passOn = (signal) => child.kill(signal);
  for (const signal of signals) process.on(signal, passOn);
  child.on('error', (error) => fail(name, error.message, `${node} could not be started.`));
  child.on('exit', (code, signal) => {
    for (const one of signals) process.off(one, passOn);
    if (signal === null) process.exitCode = code;
    else process.kill(process.pid, signal);
  });
}

function fail(name, message, hint) {
  process.stderr.write(`${name}: ${message}\nhint: ${hint}\n`);
  process.exitCode = 1;
}
