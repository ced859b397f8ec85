// Starts a program of this package on a recent enough Node: this one, or that of the npm package `node`. This
// file itself runs on older ones. It is CommonJS, as package.json here says: Node loads ES modules by more code, and
// what they import of its own is read whole.
'use strict';

const { existsSync, readFileSync } = require('node:fs');
const { createRequire, enableCompileCache } = require('node:module');
const { dirname, join } = require('node:path');

const oldest = 24;
/** In this package's directory, or next to it if this package was installed as a dependency. */
const bundledNodes = ['../node_modules/node/bin/node', '../../node/bin/node'];

/**
 * Starts a bundle of dist/. `launcher` is the path of the calling file.
 * @param {{ name: string, bundle: string, launcher: string }} options
 */
async function launch({ name, bundle, launcher }) {
  const program = join(__dirname, '../dist', bundle);
  if (!existsSync(program)) {
    fail(name, 'the program has not been built', 'Run npm run build in its directory.');
  } else if (Number(process.versions.node.split('.')[0]) >= oldest) {
    await run(program);
  } else {
    await runWithBundledNode(name, launcher);
  }
}

async function run(program) {
  if (program.endsWith('.cjs')) {
    const command = process.argv[2];
    const cache = cacheOf(program, command);
    const script = existsSync(cache) ? compile(program, readFileSync(cache)) : undefined;
    if (script?.cachedDataRejected === false) start(script, program);
    else require('./compiled-code.js').startOwn(program, cache, { compile, encode, start });
    return;
  }
  // Compiled code is cached next to the program; if that is not writable, nothing is cached.
  enableCompileCache(join(__dirname, '../dist/.compile-cache'));
  await import(require('node:url').pathToFileURL(program).href);
}

/** Commands that do no more than ask a registry. What they need is compiled separately, since it is half as much. */
const asking = ['resolve', 'exists'];

/** The file with a bundle's compiled code for a command. */
function cacheOf(program, command) {
  return `${program}${asking.includes(command) ? '.asking' : ''}.cache`;
}

/** The length of a bundle's last line, a comment with a digest of the rest (scripts/build.js). */
const lastLineLength = 67;

/** What a file with compiled code begins with: the bundle that it is of, and the Node that it is for. */
function headerOf(text) {
  return Buffer.from(
    `${text.slice(-lastLineLength)}${process.version} ${process.platform} ${process.arch}\n`,
  );
}

/** Returns the content of a file with a bundle's compiled code: all that has been compiled until now. */
function encode(program, script) {
  return Buffer.concat([headerOf(readFileSync(program, 'latin1')), script.createCachedData()]);
}

/**
 * Compiles a CommonJS bundle. The result's `cachedDataRejected` is false if it was made from compiled code.
 * @param {string} program
 * @param {Buffer} [cached] compiled code: what encode() returned
 * @param {string} [filename] what stack traces call the bundle
 */
function compile(program, cached, filename = program) {
  // Bundles are ASCII.
  const text = readFileSync(program, 'latin1');
  const header = headerOf(text);
  // That it is from the same bundle is for us to check; V8 rejects what is from another version of V8, or damaged in length.
  const isOfBundle = cached?.subarray(0, header.length).equals(header) === true;
  const source = `(function(exports,require,module,__filename,__dirname){${text}\n})`;
  const { Script } = require('node:vm');
  return new Script(source, {
    filename,
    cachedData: isOfBundle ? cached.subarray(header.length) : undefined,
  });
}

/** Runs a compiled CommonJS bundle. */
function start(script, program) {
  const exported = { exports: {} };
  script.runInThisContext()(exported.exports, createRequire(program), exported, program, dirname(program));
}

/**
 * Runs the launcher with the Node of the npm package, forwards signals to it, and ends with its exit code or signal.
 */
async function runWithBundledNode(name, launcher) {
  const node = bundledNodes.map((path) => join(__dirname, path)).find((path) => existsSync(path));
  if (node === undefined) {
    fail(
      name,
      `Node ${oldest} or newer is needed, this is ${process.version}`,
      'Install a newer Node; or install this package again with its optional dependency, the npm package node, and its scripts.',
    );
    return;
  }
  const args = [launcher, ...process.argv.slice(2)];
  const { spawn } = require('node:child_process');
  // In a separate process group: otherwise Ctrl-C would reach it twice, from the terminal and from here.
  const child = spawn(node, args, { stdio: 'inherit', detached: true });
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

module.exports = { launch, cacheOf, compile, encode, start };
