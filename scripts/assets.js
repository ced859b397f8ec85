// Gets the real parts that tests use and that are no Debian package, into a cache outside the checkout:
//
//     npm run assets [NAME...]
//
// Each is a Go module of a fixed version and checksum, built with Go, or files of one. A part that is there is left alone.
// What KUBEBUILDER_ASSETS names is used from there: the API server with its etcd, and what else there is of Kubernetes.
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
  // These two do not build on their own: their go.mod files point to neighbours that their archives lack.
  etcd: {
    version: 'v3.7.3',
    within: 'assets/etcd',
    isCluster: true,
    build: ['build', 'go.etcd.io/etcd/server/v3'],
  },
  'kube-apiserver': kubernetes('kube-apiserver'),
  // What turns an API server into a cluster. The archives that KUBEBUILDER_ASSETS usually names have kubectl only.
  'kube-controller-manager': kubernetes('kube-controller-manager'),
  'kube-scheduler': kubernetes('kube-scheduler'),
  kubectl: kubernetes('kubectl'),
  // Chainguard's fork of Kaniko.
  kaniko: {
    module: 'github.com/chainguard-dev/kaniko',
    version: 'v1.25.3',
    sum: 'h1:7nTypVYlEPFsZB4AlI+HRsTd6SGSV1CCU9PDDmU/fd8=',
    build: ['build', '-ldflags', '-s -w', './cmd/executor'],
  },
  helm: {
    module: 'helm.sh/helm/v3',
    version: 'v3.20.2',
    sum: 'h1:binM4rvPx5DcNsa1sIt7UZi55lRbu3pZUFmQkSoRh48=',
    // As its release has it: without, it takes every cluster for Kubernetes 1.20 when it only renders.
    build: [
      'build',
      '-ldflags',
      '-s -w -X helm.sh/helm/v3/internal/version.version=v3.20.2 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34',
      './cmd/helm',
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
  // What the documents' Policy for installing spokes is made of: on the hub, then on the spoke.
  'ocm-policy-crds': {
    module: 'open-cluster-management.io/governance-policy-propagator',
    version: 'v0.16.0',
    sum: 'h1:2oBWdVYgJXcx75d8RS4Ttsic5SIaE5ioG+mug4RAPqI=',
    files: [
      'deploy/crds/policy.open-cluster-management.io_policies.yaml',
      'deploy/crds/policy.open-cluster-management.io_placementbindings.yaml',
    ],
  },
  'ocm-placement-rule-crds': {
    module: 'open-cluster-management.io/multicloud-operators-subscription',
    version: 'v0.16.0',
    sum: 'h1:rsup8obE4AYZmhJHjZznQqFX3FUII9o200uRinmgbqg=',
    files: ['deploy/hub-common/apps.open-cluster-management.io_placementrules_crd.yaml'],
  },
  'ocm-configuration-policy-crds': {
    module: 'open-cluster-management.io/config-policy-controller',
    version: 'v0.16.0',
    sum: 'h1:hIrgTvJXYRuYZ+Gph4EPq+8heQKczWlCSSctGQVi6OI=',
    files: ['deploy/crds/policy.open-cluster-management.io_configurationpolicies.yaml'],
  },
  'operator-lifecycle-manager-crds': {
    module: 'github.com/operator-framework/api',
    version: 'v0.27.0',
    sum: 'h1:OrVaGKZJvbZo58HTv2guz7aURkhVKYhFqZ/6VpifiXI=',
    files: ['crds/operators.coreos.com_operatorgroups.yaml', 'crds/operators.coreos.com_subscriptions.yaml'],
  },
};

/** A program of Kubernetes, as its release has it: without a version, it is v0.0.0 and refuses its own defaults. */
function kubernetes(name) {
  const stamp = 'k8s.io/component-base/version.git';
  const flags = `-s -w -X ${stamp}Version=v1.34.0 -X ${stamp}Major=1 -X ${stamp}Minor=34`;
  return {
    version: 'v1.34.0',
    within: 'assets/kubernetes',
    isCluster: true,
    build: ['build', '-ldflags', flags, `k8s.io/kubernetes/cmd/${name}`],
  };
}

const cache = join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kmm-sign');
/** A server of one version with the etcd that was packed with it: both from there, or none. */
const serverParts = ['etcd', 'kube-apiserver'];

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
  const wanted = serverParts.includes(name) ? serverParts : [name];
  if (part.isCluster && given && wanted.every((one) => existsSync(join(given, one))))
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
