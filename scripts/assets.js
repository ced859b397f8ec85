// Gets the real parts that tests use and that are no Debian package, into a cache outside the checkout:
//
//     npm run assets [NAME...]
//
// Each is a Go module of a fixed version and checksum, built with Go, or files of one. A part that is there is left alone.
// The API server and its etcd are used from KUBEBUILDER_ASSETS where that names a folder that has both.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
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
  // These do not build on their own: their go.mod files point to neighbours that their archives lack.
  etcd: {
    version: 'v3.7.3',
    within: 'assets/etcd',
    isCluster: true,
    build: ['build', 'go.etcd.io/etcd/server/v3'],
  },
  'kube-apiserver': {
    version: 'v1.34.0',
    within: 'assets/kubernetes',
    isCluster: true,
    // As the release has it: without a version, the server calls itself v0.0.0 and refuses its own defaults.
    build: [
      'build',
      '-ldflags',
      '-s -w -X k8s.io/component-base/version.gitVersion=v1.34.0 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34',
      'k8s.io/kubernetes/cmd/kube-apiserver',
    ],
  },
  // Open Cluster Management: the agent that brings ManifestWorks to a cluster, and the resources that it knows.
  'ocm-work': {
    version: 'v1.0.0',
    within: 'assets/ocm',
    build: ['build', '-ldflags', '-s -w', 'open-cluster-management.io/ocm/cmd/work'],
  },
  'ocm-crds': {
    module: 'open-cluster-management.io/api',
    version: 'v1.0.0',
    sum: 'h1:54QllH9DTudCk6VrGt0q8CDsE3MghqJeTaTN4RHZpE0=',
    files: [
      'cluster/v1/0000_00_clusters.open-cluster-management.io_managedclusters.crd.yaml',
      'cluster/v1alpha1/0000_02_clusters.open-cluster-management.io_clusterclaims.crd.yaml',
      'work/v1/0000_00_work.open-cluster-management.io_manifestworks.crd.yaml',
      'work/v1/0000_01_work.open-cluster-management.io_appliedmanifestworks.crd.yaml',
    ],
  },
};

const cache = join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kmm-sign');
const clusterParts = Object.keys(parts).filter((name) => parts[name].isCluster);

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

/** The folder with a module's source, which has the checksum that it should have. */
function download({ module, version, sum }, folder) {
  const source = JSON.parse(go(['mod', 'download', '-json', `${module}@${version}`], folder));
  if (source.Sum !== sum) throw new Error(`${module}@${version} has the checksum ${source.Sum}, not ${sum}`);
  return source.Dir;
}

/** Gets one part, and gives its path. */
function get(name, part) {
  const given = env.KUBEBUILDER_ASSETS;
  if (part.isCluster && given && clusterParts.every((one) => existsSync(join(given, one))))
    return join(given, name);
  const bin = part.isCluster ? join(cache, 'kubebuilder', 'bin') : join(cache, 'bin');
  return make({ name, part, parent: part.files ? cache : bin });
}

/** Makes one part where it is not there yet, and gives its path. */
function make({ name, part, parent }) {
  mkdirSync(parent, { recursive: true });
  const target = join(parent, `${name}@${part.version}`);
  if (!existsSync(target)) {
    const folder = mkdtempSync(join(tmpdir(), 'kmm-sign-assets-'));
    try {
      const made = `${target}.${process.pid}`;
      const source = part.within ? join(import.meta.dirname, part.within) : download(part, folder);
      if (part.files) copy(part.files, source, made);
      else build(part.build, source, made);
      renameSync(made, target);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  const link = join(parent, name);
  const fresh = `${link}.${process.pid}`;
  symlinkSync(basename(target), fresh);
  renameSync(fresh, link);
  return target;
}

/** Builds a program. */
function build([verb, ...options], source, program) {
  go([verb, '-trimpath', '-o', program, ...options], source);
}

/** Copies files into a new folder. */
function copy(files, source, folder) {
  mkdirSync(folder);
  for (const file of files) copyFileSync(join(source, file), join(folder, basename(file)));
}

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
