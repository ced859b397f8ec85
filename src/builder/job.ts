import type {
  V1Container,
  V1Job,
  V1PodSecurityContext,
  V1PodSpec,
  V1Toleration,
} from '@kubernetes/client-node';
import { commonLabels, kernelLabelValue, labelKeys } from './labels.ts';
import type { JobFacts } from './job-facts.ts';
import type { Mount } from './mounts.ts';
import { objectName } from './names.ts';
import type { PodSettings } from './overlay.ts';
import type { ModuleTarget } from './target.ts';

/** The termination message: a builder writes the digest of its result there. */
export const terminationLog = '/dev/termination-log';

/** The inputs of a Job. */
export interface JobOptions {
  readonly kind: 'build' | 'sign';
  readonly target: ModuleTarget;
  readonly facts: JobFacts;
  readonly hash: string;
  readonly container: V1Container;
  readonly mounts: readonly Mount[];
  readonly settings: PodSettings;
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly tolerations: readonly V1Toleration[];
  readonly securityContext?: V1PodSecurityContext;
  /** False requests a user namespace. */
  readonly hostUsers?: boolean;
}

/** Creates a Job that runs one container once. Whether it is retried is the controller's decision. */
export function makeJob(options: JobOptions): V1Job {
  const { kind, target, facts, hash, settings } = options;
  const labels = {
    ...commonLabels(target.module.name, kind),
    [labelKeys.targetKernel]: kernelLabelValue(target.kernel),
    [labelKeys.jobType]: kind,
  };
  const annotations = { [labelKeys.lastHash]: hash };
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: objectName({ readable: readableName(options), identity: hash }),
      namespace: facts.namespace,
      labels,
      annotations,
      ...(facts.owner === undefined ? {} : { ownerReferences: [facts.owner] }),
    },
    spec: {
      backoffLimit: 0,
      completions: 1,
      parallelism: 1,
      activeDeadlineSeconds: settings.activeDeadlineSeconds,
      template: {
        metadata: {
          labels: { ...settings.labels, ...labels },
          annotations: { ...settings.annotations, ...annotations },
        },
        spec: podSpec(options),
      },
    },
  };
}

function readableName({ kind, target: { module, kernel, image }, facts }: JobOptions): string[] {
  if (facts.shared !== true) return [module.name, kind, kernel.version];
  return [kind, image.slice(image.lastIndexOf('/') + 1)];
}

function podSpec({
  facts,
  container,
  mounts,
  settings,
  nodeSelector,
  tolerations,
  ...options
}: JobOptions): V1PodSpec {
  return {
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    ...(options.hostUsers === undefined ? {} : { hostUsers: options.hostUsers }),
    ...(options.securityContext === undefined ? {} : { securityContext: options.securityContext }),
    imagePullSecrets: facts.pullSecrets.map(({ name }) => ({ name })),
    nodeSelector: { ...nodeSelector, ...settings.nodeSelector, 'kubernetes.io/os': 'linux' },
    tolerations: [...tolerations, ...settings.tolerations],
    ...(settings.affinity === undefined ? {} : { affinity: settings.affinity }),
    ...(settings.priorityClassName === undefined ? {} : { priorityClassName: settings.priorityClassName }),
    ...(settings.runtimeClassName === undefined ? {} : { runtimeClassName: settings.runtimeClassName }),
    ...(settings.schedulerName === undefined ? {} : { schedulerName: settings.schedulerName }),
    containers: [completed(container, mounts, settings)],
    volumes: mounts.map(({ volume }) => volume),
  };
}

function completed(container: V1Container, mounts: readonly Mount[], settings: PodSettings): V1Container {
  return Object.assign({}, container, {
    volumeMounts: mounts.map(({ mount }) => mount),
    terminationMessagePath: terminationLog,
    terminationMessagePolicy: 'File',
    ...(settings.resources === undefined ? {} : { resources: settings.resources }),
  });
}
