// Asks apt which packages an architecture's system consists of, and downloads them, without a change to the machine that
// this runs on: the lists, the packages and the record of what is installed are in a directory of their own. apt verifies
// signatures and checksums with the keys and the sources of this machine.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Packages that others depend on for their maintainer scripts, which are not run here, or for what moved to others. */
const leftOut = new Set(['debconf', 'dpkg', 'libdebconfclient0', 'mawk', 'openssl', 'util-linux-extra']);

/**
 * Downloads packages and all that they depend on, and returns the archives with their addresses, sorted by name.
 * `directory` is for apt's files.
 */
export function downloadPackages(names, architecture, directory) {
  const apt = aptIn(directory, architecture);
  apt('update');
  const install = ['install', '--no-install-recommends'];
  const listed = apt(...install, '--print-uris', ...names);
  const archives = Array.from(listed.matchAll(/^'([^']+)' (\S+) (\d+)/gm), ([, url, file, size]) => ({
    url,
    file,
    size: Number(size),
    name: file.slice(0, file.indexOf('_')),
  }));
  apt(...install, '--download-only', '--yes', ...names);
  const files = new Set(readdirSync(join(directory, 'cache/archives')));
  return archives
    .filter(({ name }) => !leftOut.has(name))
    .map((archive) => {
      if (!files.has(archive.file)) throw new Error(`apt-get has not downloaded ${archive.file}`);
      return { ...archive, path: join(directory, 'cache/archives', archive.file) };
    })
    .toSorted((one, other) => (one.name < other.name ? -1 : 1));
}

/** Returns a function that runs apt-get for an architecture on files in a directory, and returns what it prints. */
function aptIn(directory, architecture) {
  for (const path of ['state/lists/partial', 'cache/archives/partial'])
    mkdirSync(join(directory, path), { recursive: true });
  writeFileSync(join(directory, 'status'), '');
  const settings = {
    'APT::Architecture': architecture,
    'APT::Architectures': architecture,
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
    'Acquire::Retries': 5,
    'Dir::State': join(directory, 'state'),
    'Dir::State::status': join(directory, 'status'),
    'Dir::Cache': join(directory, 'cache'),
  };
  const options = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
  return (...args) => {
    const { status, stdout, stderr, error } = spawnSync('apt-get', ['-qq', ...options, ...args], {
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    });
    if (error) throw new Error(`apt-get cannot be run: ${error.message}`);
    if (status !== 0) throw new Error(`apt-get ${args[0]} for ${architecture} failed: ${stderr.trim()}`);
    return stdout;
  };
}
