// Makes an image with a kernel module, and signs it with the program that is released.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { digestIn } from './images.js';
import { run } from './run.js';

const name = 'example-driver';
const dockerfile = 'FROM scratch\nCOPY lib /lib\n';

/**
 * Makes the example as NAME:VERSION-unsigned and, signed, as NAME:VERSION. Returns the references with digests.
 * `signing` has key and certificate.
 */
export function makeExample(release, builder, signing) {
  const { root, work, output, version, registry, program, env } = release;
  const hello = join(root, 'fixtures/hello/hello.ko');
  const kernel = /vermagic=(\S+)/.exec(readFileSync(hello, 'latin1'))?.[1] ?? '';
  const context = join(work, 'example');
  const folder = join(context, 'lib/modules', kernel, 'extra');
  mkdirSync(folder, { recursive: true });
  copyFileSync(hello, join(folder, 'hello.ko'));
  writeFileSync(join(context, 'Dockerfile'), dockerfile);
  const unsigned = builder.makeFiles(name, join(context, 'Dockerfile'), context, `${version}-unsigned`);
  const layout = join(output, 'images', name);
  const sign = ['sign', `oci:${layout}:${version}-unsigned`, `oci:${layout}:${version}`];
  const key = ['--key', signing.key, '--cert', signing.certificate];
  run(execPath, [program, ...sign, ...key], { env });
  copyFileSync(signing.certificate, join(output, 'example-driver.pem'));
  return { [`${name}-unsigned`]: unsigned, [name]: `${registry}/${name}@${digestIn(layout, version)}` };
}

/** Makes a key that signs the example of a dry run only. */
export function makeKey({ work, program, env }) {
  const folder = join(work, 'key');
  const options = ['--common-name', 'kmm-sign dry run', '-o', folder];
  run(execPath, [program, 'keygen', ...options], { env });
  return { key: join(folder, 'signing_key.key'), certificate: join(folder, 'signing_key.pem') };
}
