// Gets Node for an architecture from npm, where the project's own Node comes from.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const { version, packages } = JSON.parse(readFileSync(join(import.meta.dirname, 'node.json'), 'utf8'));

/** Installs Node as usr/local/bin/node, with its licence. @throws Error if the package has another checksum */
export function installNode(architecture, root, cache) {
  const archive = packageOf(packages[architecture], cache);
  const folder = mkdtempSync(join(tmpdir(), 'kmm-sign-node-'));
  try {
    const wanted = ['package/bin/node', 'package/LICENSE'];
    run('tar', ['--extract', `--file=${archive}`, `--directory=${folder}`, ...wanted]);
    for (const directory of ['usr/local/bin', 'usr/share/doc/node'])
      mkdirSync(join(root, directory), { recursive: true });
    copyFileSync(join(folder, wanted[0]), join(root, 'usr/local/bin/node'));
    chmodSync(join(root, 'usr/local/bin/node'), 0o755);
    copyFileSync(join(folder, wanted[1]), join(root, 'usr/share/doc/node/copyright'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Returns the path of a package's archive in the cache. */
function packageOf({ name, integrity }, cache) {
  const path = join(cache, `${name}-${version}.tgz`);
  if (existsSync(path) && integrityOf(path) === integrity) return path;
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, '.node-'));
  try {
    const options = ['--silent', '--ignore-scripts', `--pack-destination=${folder}`];
    const fresh = join(folder, run('npm', ['pack', ...options, `${name}@${version}`]).trim());
    const checksum = integrityOf(fresh);
    if (checksum !== integrity) throw new Error(`${name} has the checksum ${checksum}, not ${integrity}`);
    renameSync(fresh, path);
    return path;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function integrityOf(file) {
  return `sha512-${createHash('sha512').update(readFileSync(file)).digest('base64')}`;
}

function run(program, args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (error) throw new Error(`${program} cannot be run: ${error.message}`);
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed: ${stderr.trim()}`);
  return stdout;
}
