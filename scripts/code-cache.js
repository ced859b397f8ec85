// Writes the compiled code of a bundle beside it, from which bin/launch.js starts the program:
//
//     node scripts/code-cache.js dist/cli.cjs COMMAND
//
// The program runs that command meanwhile, so that what it takes is compiled: demo, for what it takes to sign and to
// verify, or resolve, which is sent to a server of this process that holds nothing else. It has to be run by the Node
// that will run the program; any other compiles the program itself.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { resolve } from 'node:path';
import { argv } from 'node:process';
import { cacheOf, compile, lastLineLength, start } from '../bin/launch.js';

const program = resolve(argv[2] ?? 'dist/cli.cjs');
const command = argv[3] ?? 'demo';
const cache = cacheOf(program, command);
const lastLine = readFileSync(program).subarray(-lastLineLength);

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
  const script = compile(program);
  process.argv.splice(2, Infinity, command, ...(command === 'resolve' ? [image, '--plain-http'] : []));
  start(script, program);
  process.once('exit', (code) => {
    if (code !== 0) throw new Error(`${command} ended with ${code}`);
    // At once for others: a program may be starting.
    writeFileSync(`${cache}.new`, Buffer.concat([lastLine, script.createCachedData()]));
    renameSync(`${cache}.new`, cache);
  });
});
