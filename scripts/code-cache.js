// Writes the compiled code of a bundle beside it, from which bin/launch.js starts the program:
//
//     node scripts/code-cache.js dist/cli.cjs COMMAND
//
// The program runs that command meanwhile, so that what it takes is compiled: demo, for what it takes to sign and to
// verify, or resolve, which is sent to a server of this process that holds nothing else. It has to be run by the Node
// that will run the program; any other compiles the program itself.
//
// The same Node writes the same bytes each time, which releases need that can be made again. Left alone, V8 writes others:
//  - it draws numbers when it starts (--predictable)
//  - it leaves padding in compiled functions as it found the memory: all zeros in a heap so large that none is used twice
//  - it marks functions that have run often, to optimize them sooner next time: here none does
//  - it numbers functions in the order in which they are compiled, which depends on the network: what is written is
//    loaded once more by another process, which numbers them in the order of the file, and written again.
import { spawnSync } from 'node:child_process';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { basename, resolve } from 'node:path';
import { argv, execPath } from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { cacheOf, compile, encode, start } from '../bin/launch.js';

/** Flags of V8, and what undoes those that make it refuse the result without them. */
const flags = [
  '--predictable',
  '--initial-old-space-size=500',
  '--invocation-count-for-feedback-allocation=100000',
];
const defaults = ['--initial-old-space-size=0', '--invocation-count-for-feedback-allocation=8'];

const program = resolve(argv[2] ?? 'dist/cli.cjs');
const command = argv[3] ?? 'demo';
const pass = argv[4];
const cache = cacheOf(program, command);
const [unordered, ordered] = [`${cache}.unordered`, `${cache}.new`];
// Not its path, which would be written too. What stack traces show is said when it is run.
const name = basename(program);

if (pass === 'compile') {
  compileWhileRunning();
} else if (pass === 'order') {
  const script = compile(program, readFileSync(unordered), name);
  for (const flag of defaults) setFlagsFromString(flag);
  writeFileSync(ordered, encode(program, script));
} else {
  for (const each of ['compile', 'order']) runPass(each);
  if (compile(program, readFileSync(ordered)).cachedDataRejected !== false)
    throw new Error(`V8 does not take ${ordered}`);
  rmSync(unordered);
  // At once for others: a program may be starting.
  renameSync(ordered, cache);
}

function runPass(each) {
  const args = [...flags, import.meta.filename, program, command, each];
  const { status, stderr, error } = spawnSync(execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${stderr.toString()}`);
}

/** Runs the command, and writes what has been compiled when it ends. */
function compileWhileRunning() {
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [],
  });
  const server = createServer((_, response) => {
    response.setHeader('content-type', 'application/vnd.oci.image.index.v1+json').end(manifest);
  });
  server.listen(0, '127.0.0.1', () => {
    const image = `127.0.0.1:${server.address().port}/vendor/driver:1.0`;
    server.unref();
    const script = compile(program, undefined, name);
    process.argv.splice(2, Infinity, command, ...(command === 'resolve' ? [image, '--plain-http'] : []));
    start(script, program);
    process.once('exit', (code) => {
      if (code === 0) writeFileSync(unordered, encode(program, script));
    });
  });
}
