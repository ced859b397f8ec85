// Writes the compiled code of a bundle beside it, from which bin/launch.js starts the program:
//
//     node scripts/code-cache.js dist/cli.cjs
//
// The program runs the demonstration meanwhile, so that what it takes to sign and to verify is compiled. It has to be
// run by the Node that will run the program; any other compiles the program itself.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { argv } from 'node:process';
import { cacheOf, compile, lastLineLength, start } from '../bin/launch.js';

const program = resolve(argv[2] ?? 'dist/cli.cjs');
const cache = cacheOf(program);
const lastLine = readFileSync(program).subarray(-lastLineLength);
const script = compile(program, { requiresCache: false });
process.argv.splice(2, Infinity, 'demo');
start(script, program);
process.once('exit', (code) => {
  if (code !== 0) throw new Error(`the demonstration ended with ${code}`);
  // At once for others: a program may be starting.
  writeFileSync(`${cache}.new`, Buffer.concat([lastLine, script.createCachedData()]));
  renameSync(`${cache}.new`, cache);
});
