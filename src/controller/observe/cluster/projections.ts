import type { V1Taint } from '@kubernetes/client-node';
import { labelKeys } from '../../../builder/labels.ts';
import { keyOf, type ObjectKey } from '../../runtime/api/object-key.ts';
import { failureOf, isReady, problem, type PodFailure, type PodProblem } from './pod-state.ts';
import type { DaemonSet, FullMetadata, Job, Node, Pod } from './resources.ts';

/** The part of a node that is cached. */
export interface NodeFacts {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly V1Taint[];
  /** What `uname -r` prints on it. */
  readonly kernelRelease: string;
  readonly osImage: string;
  /** A new one for each boot. */
  readonly bootId: string;
  /** GOARCH. */
  readonly architecture: string;
  /** Such as `v1.35.0`. */
  readonly kubeletVersion: string;
  /** Such as `containerd://2.1.4`. */
  readonly containerRuntimeVersion: string;
}

/** The part of one of our Jobs that is cached. */
export interface JobFacts {
  readonly key: ObjectKey;
  readonly uid: string;
  readonly ownerUid: string | undefined;
  readonly kind: string | undefined;
  /** Value of the label that names the Module. */
  readonly module: string | undefined;
  /** Value of the image label, which a hub's Jobs have. */
  readonly image: string | undefined;
  /** Value of the kernel label. */
  readonly kernel: string | undefined;
  readonly hash: string | undefined;
  /** Hash of the versions of its Secrets when it was created. */
  readonly secretsVersion: string | undefined;
  readonly state: 'active' | 'succeeded' | 'failed';
  /** Whether it must not run now: Kueue, or somebody else, decides when it may. */
  readonly suspended: boolean;
  /** From the condition that says how it ended, as is `message`. */
  readonly reason: string | undefined;
  readonly message: string | undefined;
  /** RFC 3339. */
  readonly created: string | undefined;
  readonly ended: string | undefined;
  readonly deleting: boolean;
}

/** The part of one of our DaemonSets that is cached. */
export interface DaemonSetFacts {
  readonly key: ObjectKey;
  readonly uid: string;
  readonly generation: number;
  readonly ownerUid: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Hashes of a module loader, from its annotations. */
  readonly loaderInputs: string | undefined;
  readonly loaderContent: string | undefined;
  /** Whether its pods only clean their nodes. */
  readonly unloads: boolean;
  readonly desired: number;
  /** Whether the counters are of the present template. */
  readonly isObserved: boolean;
  /** Nodes whose pod is of the present template. */
  readonly updated: number;
  readonly available: number;
  /** Hash of the template since which pods of KMM are kept, from an annotation. */
  readonly takenOver: string | undefined;
  readonly deleting: boolean;
}

/** The part of one of our pods that is cached: of a Job, a module loader or a device plugin. */
export interface PodFacts {
  readonly key: ObjectKey;
  readonly uid: string;
  readonly nodeName: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Name of the Job or DaemonSet that created it. */
  readonly ownerName: string | undefined;
  readonly ownerUid: string | undefined;
  readonly resourceVersion: string;
  readonly finalizers: readonly string[];
  /** Of containers and init containers, those mounted as volumes, and what the kubelet says it runs. */
  readonly images: readonly string[];
  /** When its container was started last, in RFC 3339. */
  readonly startedAt: string | undefined;
  /** Whether it is, or was when its kubelet was started anew, which has not probed it yet. */
  readonly ready: boolean;
  readonly phase: string;
  readonly deleting: boolean;
  /** Why it has not started, such as `ImagePullBackOff` or `Unschedulable`. */
  readonly waiting: PodProblem | undefined;
  readonly terminated: PodEnd | undefined;
  /** Of a pod of a DaemonSet: the node that it is for, even if it is not scheduled yet. */
  readonly targetNode: string | undefined;
  /** Why it is not running: the end of a container that failed, or what one is waiting for. */
  readonly failure: PodFailure | undefined;
}

/** How a container ended. */
export interface PodEnd {
  readonly exitCode: number;
  readonly reason: string;
  /** The container's termination message. */
  readonly message: string;
}

export function projectNode({ metadata, spec, status }: Node): NodeFacts {
  return {
    name: metadata.name,
    uid: metadata.uid ?? '',
    resourceVersion: metadata.resourceVersion ?? '',
    labels: metadata.labels ?? {},
    taints: spec?.taints ?? [],
    kernelRelease: status?.nodeInfo?.kernelVersion ?? '',
    osImage: status?.nodeInfo?.osImage ?? '',
    bootId: status?.nodeInfo?.bootID ?? '',
    architecture: status?.nodeInfo?.architecture ?? '',
    kubeletVersion: status?.nodeInfo?.kubeletVersion ?? '',
    containerRuntimeVersion: status?.nodeInfo?.containerRuntimeVersion ?? '',
  };
}

export function projectJob(job: Job): JobFacts {
  const { metadata, spec, status } = job;
  const ended = status?.conditions?.find(
    ({ type, status: value }) => value === 'True' && (type === 'Complete' || type === 'Failed'),
  );
  return {
    key: keyOf(job),
    uid: metadata.uid ?? '',
    ownerUid: controllerOf(metadata),
    kind: metadata.labels?.[labelKeys.jobType],
    module: metadata.labels?.[labelKeys.moduleName],
    image: metadata.labels?.[labelKeys.image],
    kernel: metadata.labels?.[labelKeys.targetKernel],
    hash: metadata.annotations?.[labelKeys.lastHash],
    secretsVersion: metadata.annotations?.[labelKeys.secretsVersion],
    state: ended === undefined ? 'active' : ended.type === 'Complete' ? 'succeeded' : 'failed',
    suspended: spec?.suspend === true,
    reason: ended?.reason,
    message: ended?.message,
    created: metadata.creationTimestamp,
    ended: text(ended?.lastTransitionTime),
    deleting: metadata.deletionTimestamp !== undefined,
  };
}

export function projectDaemonSet(daemonSet: DaemonSet): DaemonSetFacts {
  const { metadata, spec, status } = daemonSet;
  return {
    key: keyOf(daemonSet),
    uid: metadata.uid ?? '',
    generation: metadata.generation ?? 0,
    ownerUid: controllerOf(metadata),
    labels: metadata.labels ?? {},
    loaderInputs: metadata.annotations?.[labelKeys.loaderInputs],
    loaderContent: metadata.annotations?.[labelKeys.loaderContent],
    unloads: spec?.template.metadata?.labels?.[labelKeys.loaderMode] === 'unload',
    desired: status?.desiredNumberScheduled ?? 0,
    isObserved: status?.observedGeneration === metadata.generation,
    updated: status?.updatedNumberScheduled ?? 0,
    available: status?.numberAvailable ?? 0,
    takenOver: metadata.annotations?.[labelKeys.takenOver],
    deleting: metadata.deletionTimestamp !== undefined,
  };
}

export function projectPod(pod: Pod): PodFacts {
  const { metadata, spec, status } = pod;
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true);
  const [container] = status?.containerStatuses ?? [];
  const { waiting, running, terminated } = container?.state ?? {};
  const unscheduled = status?.conditions?.find(
    ({ type, status: value }) => type === 'PodScheduled' && value === 'False',
  );
  return {
    key: keyOf(pod),
    uid: metadata.uid ?? '',
    nodeName: spec?.nodeName,
    labels: metadata.labels ?? {},
    ownerName: owner?.name,
    ownerUid: owner?.uid,
    resourceVersion: metadata.resourceVersion ?? '',
    finalizers: metadata.finalizers ?? [],
    images: imagesOf(pod),
    startedAt: text(running?.startedAt),
    ready: isReady(pod),
    phase: status?.phase ?? 'Unknown',
    deleting: metadata.deletionTimestamp !== undefined,
    waiting: waiting ? problem(waiting) : unscheduled && problem(unscheduled),
    terminated: terminated && {
      exitCode: terminated.exitCode,
      reason: terminated.reason ?? '',
      message: terminated.message ?? '',
    },
    targetNode: spec?.nodeName ?? intendedNode(spec),
    failure: failureOf(pod),
  };
}

/** Returns the node for which the DaemonSet controller has made a pod. */
function intendedNode(spec: Pod['spec']): string | undefined {
  const terms =
    spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  return terms.flatMap(({ matchFields = [] }) => matchFields).find(({ key }) => key === 'metadata.name')
    ?.values?.[0];
}

function imagesOf({ spec, status }: Pod): string[] {
  const containers = [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])];
  const volumes = (spec?.volumes ?? []).map((volume) => volume.image?.reference);
  const running = (status?.containerStatuses ?? []).map(({ imageID }) => imageID);
  return [...containers.map(({ image }) => image), ...volumes, ...running].filter(
    (image): image is string => image !== undefined && image !== '',
  );
}

function controllerOf({ ownerReferences }: FullMetadata): string | undefined {
  return ownerReferences?.find(({ controller }) => controller === true)?.uid;
}

/** Converts a time: the library types times as Date, but the API server's JSON has strings. */
function text(time: Date | undefined): string | undefined {
  return time === undefined ? undefined : String(time);
}
