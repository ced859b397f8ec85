// Makes what the image has besides its system: the programs, where they belong. Their compiled code is for the architecture of
// this machine; images for another do without it.
//
//     node scripts/image/application.js --output DIR [--no-code-cache]
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { execPath } from 'node:process';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: { output: { type: 'string' }, 'no-code-cache': { type: 'boolean', default: false } },
});
if (options.output === undefined) {
  console.error('application: --output names the directory');
  process.exit(2);
}
const source = resolve(import.meta.dirname, '../..');
const root = resolve(options.output);
const app = join(root, 'app');
for (const directory of ['app/fixtures', 'usr/bin', 'usr/local/bin'])
  mkdirSync(join(root, directory), { recursive: true });
// The demonstration, while which code is compiled, needs its module.
for (const path of ['package.json', 'bin', 'LICENSE', 'fixtures/hello'])
  cpSync(join(source, path), join(app, path), { recursive: true });
const build = ['scripts/build.js', '--no-source-maps', `--outdir=${join(app, 'dist')}`];
if (options['no-code-cache']) build.push('--no-code-cache');
const { status, error } = spawnSync(execPath, build, { cwd: source, stdio: 'inherit' });
if (error) throw error;
if (status !== 0) throw new Error('the programs cannot be built');
// The library and the step of GitHub Actions are for others than containers.
for (const name of readdirSync(join(app, 'dist')))
  if (/^(?:index\.js|action\.mjs.*|metafile\.json)$/.test(name)) rmSync(join(app, 'dist', name));
for (const program of ['kmm-sign', 'kmm-operator']) {
  chmodSync(join(app, `bin/${program}.js`), 0o755);
  symlinkSync(`/app/bin/${program}.js`, join(root, 'usr/local/bin', program));
}
copyFileSync(join(source, 'scripts/gather.sh'), join(root, 'usr/bin/gather'));
chmodSync(join(root, 'usr/bin/gather'), 0o755);
