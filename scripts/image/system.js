// Makes the system of the image for an architecture, which need not be this machine's: nothing of it is run.
//
//     node scripts/image/system.js --arch ARCHITECTURE --output DIR [--packages pinned|latest|FILE] [--mirror URL] [--list FILE]
//
// It unpacks the Debian packages of packages.json, with the checksums that are there, does the little that their maintainer
// scripts would, and adds Node. The same packages make the same system; a FILE is one that lock.js wrote, and with `latest`
// apt says what there is today. What a mirror no longer has is at snapshot.debian.org. Archives are kept in
// ~/.cache/kmm-sign/packages. --list writes down what the system has.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { defaultCache, fetchFile } from './fetch.js';
import { lockPackages, pinnedPackages } from './lock-packages.js';
import { installNode } from './node.js';

const { values: options } = parseArgs({
  options: {
    arch: { type: 'string' },
    output: { type: 'string' },
    packages: { type: 'string', default: 'pinned' },
    mirror: { type: 'string', default: 'http://deb.debian.org' },
    list: { type: 'string' },
  },
});

/** What a container does not need. The licences, usr/share/doc/PACKAGE/copyright, stay. */
const leftOut = [
  ...['bug', 'info', 'lintian', 'locale', 'man'].map((name) => `usr/share/${name}`),
  // The only program that runs as root whoever starts it.
  'usr/bin/su',
];

if (options.arch === undefined || options.output === undefined) {
  console.error('system: --arch and --output are needed');
  process.exit(2);
}
const { snapshot, architectures } = packagesOf(options.packages);
const packages = architectures[options.arch];
if (packages === undefined) throw new Error(`${options.packages}: there are no packages for ${options.arch}`);
const root = resolve(options.output);
mkdirSync(root, { recursive: true });
for (const directory of ['bin', 'sbin', 'lib', 'lib64']) {
  mkdirSync(join(root, 'usr', directory), { recursive: true });
  symlinkSync(`usr/${directory}`, join(root, directory));
}
// One after the other, as dpkg does: mirrors are not to be asked for all at once.
for (const one of packages) unpack(one, await archiveOf(one));
configure();
installNode(options.arch, root, defaultCache);
if (options.list !== undefined) writeFileSync(options.list, JSON.stringify(packages));

/** Orders names the same way in every locale. */
function byCodeUnits(one, other) {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

function packagesOf(name) {
  if (name === 'latest') return lockPackages([options.arch], defaultCache);
  return JSON.parse(readFileSync(name === 'pinned' ? pinnedPackages : name, 'utf8'));
}

function archiveOf({ file, archive, path, sha256, size }) {
  const addresses = [
    `${options.mirror}/${archive}/${path}`,
    `https://snapshot.debian.org/archive/${archive}/${snapshot}/${path}`,
  ];
  return fetchFile({ name: file, sha256, size }, addresses, defaultCache);
}

/** Unpacks a package, and notes that it is there where scanners of images look for it. */
function unpack({ file }, archive) {
  const extract = ['--extract', '--preserve-permissions', '--same-owner', '--numeric-owner'];
  const tar = run('dpkg-deb', ['--fsys-tarfile', archive]);
  run('tar', [...extract, '--keep-directory-symlink', `--directory=${root}`], tar);
  const notes = join(root, 'var/lib/dpkg/status.d');
  mkdirSync(notes, { recursive: true });
  const name = file.slice(0, file.indexOf('_'));
  writeFileSync(join(notes, name), run('dpkg-deb', ['--field', archive]));
}

/** Does what the maintainer scripts of the packages would. */
function configure() {
  for (const name of ['passwd', 'group'])
    cpSync(join(root, `usr/share/base-passwd/${name}.master`), join(root, 'etc', name));
  // libc-bin's, as far as a container has what it names.
  writeFileSync(join(root, 'etc/nsswitch.conf'), 'passwd: files\ngroup: files\nhosts: files dns\n');
  if (!existsSync(join(root, 'usr/bin/sh'))) symlinkSync('dash', join(root, 'usr/bin/sh'));
  const authorities = join(root, 'usr/share/ca-certificates');
  const certificates = readdirSync(authorities, { recursive: true })
    .filter((file) => file.endsWith('.crt'))
    .toSorted(byCodeUnits)
    .map((file) => readFileSync(join(authorities, file), 'utf8').trimEnd());
  mkdirSync(join(root, 'etc/ssl/certs'), { recursive: true });
  writeFileSync(join(root, 'etc/ssl/certs/ca-certificates.crt'), `${certificates.join('\n')}\n`);
  for (const path of leftOut) rmSync(join(root, path), { recursive: true, force: true });
  const documents = join(root, 'usr/share/doc');
  for (const entry of readdirSync(documents, { withFileTypes: true }).filter((one) => one.isDirectory()))
    for (const name of readdirSync(join(documents, entry.name)).filter((one) => one !== 'copyright'))
      rmSync(join(documents, entry.name, name), { recursive: true, force: true });
}

function run(program, args, input) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { input, maxBuffer: 2 ** 30 });
  if (error) throw new Error(`${program} cannot be run (Debian package dpkg, tar): ${error.message}`);
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed: ${stderr.toString().trim()}`);
  return stdout;
}
