// Gets the real parts that tests use and that are no Debian package, into a cache outside the checkout:
//
//     npm run assets [NAME...]
//
// Each is a Go module of a fixed version and checksum, built with Go. A part that is there is left alone.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { env, argv } from 'node:process';

const parts = {
  distribution: {
    module: 'github.com/distribution/distribution/v3',
    version: 'v3.1.2',
    sum: 'h1:/Bv2YIqqSR00HiO49FT93hovy6r9IlrzwUDsJjCN5qg=',
    build: ['build', './cmd/registry'],
  },
  // The only version that the module proxy has. Without tags it is built without extensions.
  zot: {
    module: 'github.com/project-zot/zot',
    version: 'v1.4.3',
    sum: 'h1:/6btePyKpR2R1FwGa8WhqtviB10Ox5Yw+rsYVmenhFI=',
    build: ['build', '-tags', 'containers_image_openpgp', './cmd/zot'],
  },
  // The newest version that the module proxy has.
  conformance: {
    module: 'github.com/opencontainers/distribution-spec/conformance',
    version: 'v0.0.0-20230516164017-7fcdf80f3c8b',
    sum: 'h1:MGYx4v+mUV+V2Vs7/dauGK+GdBJYD1Jkn8bHdyqs6/s=',
    build: ['test', '-c', '.'],
  },
};

const bin = join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kmm-sign', 'bin');

/** Runs go and gives its standard output; its messages go to ours. */
function go(args, cwd) {
  const { status, stdout, error } = spawnSync('go', args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    // The checksums are here and in the modules' go.sum, so no checksum server has to be reached.
    env: { ...env, CGO_ENABLED: '0', GOSUMDB: 'off', GOWORK: 'off', GOFLAGS: '-buildvcs=false' },
  });
  if (error) throw new Error(`go cannot be run: ${error.message}`);
  if (status !== 0) throw new Error(`go ${args[0]} failed: ${stdout.trim()}`);
  return stdout;
}

/** Builds one part, and gives its path. */
function get(name, { module, version, sum, build: [verb, ...options] }) {
  const program = join(bin, `${name}@${version}`);
  if (!existsSync(program)) {
    const folder = mkdtempSync(join(tmpdir(), 'kmm-sign-assets-'));
    try {
      const source = JSON.parse(go(['mod', 'download', '-json', `${module}@${version}`], folder));
      if (source.Sum !== sum)
        throw new Error(`${module}@${version} has the checksum ${source.Sum}, not ${sum}`);
      const built = `${program}.${process.pid}`;
      go([verb, '-trimpath', '-o', built, ...options], source.Dir);
      renameSync(built, program);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  const link = join(bin, name);
  const fresh = `${link}.${process.pid}`;
  symlinkSync(basename(program), fresh);
  renameSync(fresh, link);
  return program;
}

mkdirSync(bin, { recursive: true });
const names = argv.length > 2 ? argv.slice(2) : Object.keys(parts);
for (const name of names) {
  try {
    if (!Object.hasOwn(parts, name))
      throw new Error(`there is no such part; there are ${Object.keys(parts).join(', ')}`);
    console.log(`${name}: ${get(name, parts[name])}`);
  } catch (error) {
    console.error(`${name}: ${error.message}`);
    process.exitCode = 1;
  }
}
