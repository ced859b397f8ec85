import { parseModule } from '../../../src/api/module/module.ts';
import type { ImageState } from '../../../src/controller/image-pipeline/request.ts';
import type { ImageResult, KernelResult } from '../../../src/controller/module/kernel-result.ts';
import type { LoaderSettings } from '../../../src/controller/module/loading/settings.ts';
import type { NamedModule } from '../../../src/controller/module/named-module.ts';
import type { WantedKernel } from '../../../src/controller/module/wanted-kernels.ts';
import type { DaemonSetFacts, NodeFacts } from '../../../src/controller/observe/cluster/projections.ts';

/** Kernels that nodes of these tests run. */
export const [oldKernel, newKernel] = ['6.1.0-13-amd64', '6.1.0-18-amd64'];

export const digest = `sha256:${'c3'.repeat(32)}`;

/** A Module `drivers/driver` with an image for each kernel. */
export function moduleOf(container: object = {}, spec: object = {}): NamedModule {
  const module = parseModule({
    apiVersion: 'kmm.sigs.x-k8s.io/v1beta1',
    kind: 'Module',
    metadata: { namespace: 'drivers', name: 'driver', uid: 'uid-of-driver', generation: 3 },
    spec: {
      moduleLoader: {
        container: {
          modprobe: { moduleName: 'hello' },
          containerImage: 'r.example/driver:${KERNEL_FULL_VERSION}',
          kernelMappings: [{ regexp: '^6' }],
          ...container,
        },
      },
      selector: { gpu: 'yes' },
      ...spec,
    },
  });
  const metadata = { namespace: 'drivers', uid: 'uid-of-driver', resourceVersion: '7' };
  return { ...module, metadata: { ...module.metadata, ...metadata } };
}

/** A node that the Module selects. */
export function nodeOf(name: string, kernelRelease: string, changes: Partial<NodeFacts> = {}): NodeFacts {
  return {
    name,
    uid: `uid-of-${name}`,
    resourceVersion: '1',
    labels: { gpu: 'yes' },
    taints: [],
    kernelRelease,
    osImage: 'Debian GNU/Linux 12',
    bootId: 'boot-1',
    architecture: 'amd64',
    kubeletVersion: 'v1.34.0',
    containerRuntimeVersion: 'containerd://2.1.4',
    ...changes,
  };
}

/** How the operator loads modules. */
export const loaderSettings: LoaderSettings = {
  image: 'r.example/loader:1',
  imageVolumes: 'auto',
  firmwareHostPath: undefined,
  seLinuxType: 'spc_t',
  unloadTimeout: 60_000,
  deletionTimeout: 900_000,
};

/** The result of a kernel whose image is ready, or in another state. */
export function resultOf(wanted: WantedKernel, changes: Partial<ImageState> = {}): KernelResult {
  const ready = { phase: 'Ready', reason: 'ImageFound', message: 'It exists', digest } as const;
  const result: ImageResult = { state: { ...ready, ...changes }, jobs: [], error: undefined };
  return { ...wanted, ...result };
}

/** State of an image that is being built. */
export const building: Partial<ImageState> = {
  phase: 'Building',
  reason: 'BuildRunning',
  message: 'Job build-1 runs',
  job: 'build-1',
  digest: undefined,
};

/** State of an image that cannot be made. */
export const failed: Partial<ImageState> = {
  phase: 'Failed',
  reason: 'BuildFailed',
  message: 'Job build-1 failed',
  job: 'build-1',
  digest: undefined,
};

/** A DaemonSet of the Module as its cache has it. */
export function daemonSetOf(
  name: string,
  labels: Readonly<Record<string, string>>,
  changes: Partial<DaemonSetFacts> = {},
): DaemonSetFacts {
  return {
    key: { namespace: 'drivers', name },
    uid: `uid-of-${name}`,
    generation: 1,
    ownerUid: 'uid-of-driver',
    labels: { 'app.kubernetes.io/part-of': 'kmm', ...labels },
    loaderInputs: undefined,
    loaderContent: undefined,
    unloads: false,
    desired: 0,
    isObserved: true,
    updated: changes.available ?? 0,
    available: 0,
    takenOver: undefined,
    deleting: false,
    ...changes,
  };
}
