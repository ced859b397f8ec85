import type { V1Container, V1Job, V1PodSecurityContext, V1PodSpec } from '@kubernetes/client-node';
import type { PodTemplate } from '../api/module/build-and-sign.ts';
import { commonLabels, kernelLabelValue, labelKeys } from './labels.ts';
import type { JobInputs } from './job-inputs.ts';
import type { Mount } from './mounts.ts';
import { objectName } from './names.ts';
import { mergeTemplates, type PodSettings } from './pod-settings.ts';
import type { ModuleTarget } from './target.ts';

/** The termination message: a builder writes the digest of its result there. */
export const terminationLog = '/dev/termination-log';

/** What a Job does: one container and its surroundings. */
export interface JobWork {
  readonly kind: 'build' | 'sign';
  /** Identifies the work: the Job's name depends on it. */
  readonly hash: string;
  readonly container: V1Container;
  readonly mounts: readonly Mount[];
  /** The Module's settings for the pod. They take precedence over the operator's. */
  readonly podTemplate: PodTemplate | undefined;
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly securityContext?: V1PodSecurityContext;
  /** False requests a user namespace. */
  readonly hostUsers?: boolean;
}

/** Creates a Job that runs one container once. Whether it is retried is the controller's decision. */
export function makeJob(target: ModuleTarget, inputs: JobInputs, work: JobWork): V1Job {
  const { kind, hash } = work;
  const settings = mergeTemplates(inputs.podTemplate, work.podTemplate);
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
      name: objectName(readableName(kind, target, inputs), hash),
      namespace: inputs.namespace,
      labels,
      annotations,
      ...(inputs.owner === undefined ? {} : { ownerReferences: [inputs.owner] }),
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
        spec: podSpec(target, inputs, work, settings),
      },
    },
  };
}

function readableName(
  kind: JobWork['kind'],
  { module, kernel, image }: ModuleTarget,
  { shared }: JobInputs,
): string[] {
  if (shared !== true) return [module.name, kind, kernel.version];
  return [kind, image.slice(image.lastIndexOf('/') + 1)];
}

function podSpec(
  { tolerations }: ModuleTarget,
  { pullSecrets }: JobInputs,
  { container, mounts, nodeSelector, securityContext, hostUsers }: JobWork,
  settings: PodSettings,
): V1PodSpec {
  return {
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    ...(hostUsers === undefined ? {} : { hostUsers }),
    ...(securityContext === undefined ? {} : { securityContext }),
    imagePullSecrets: pullSecrets.map(({ name }) => ({ name })),
    nodeSelector: { ...nodeSelector, ...settings.nodeSelector, 'kubernetes.io/os': 'linux' },
    tolerations: [...tolerations, ...settings.tolerations],
    ...(settings.affinity === undefined ? {} : { affinity: settings.affinity }),
    ...(settings.priorityClassName === undefined ? {} : { priorityClassName: settings.priorityClassName }),
    ...(settings.runtimeClassName === undefined ? {} : { runtimeClassName: settings.runtimeClassName }),
    ...(settings.schedulerName === undefined ? {} : { schedulerName: settings.schedulerName }),
    containers: [withSettings(container, mounts, settings)],
    volumes: mounts.map(({ volume }) => volume),
  };
}

function withSettings(container: V1Container, mounts: readonly Mount[], settings: PodSettings): V1Container {
  return Object.assign({}, container, {
    volumeMounts: mounts.map(({ mount }) => mount),
    terminationMessagePath: terminationLog,
    terminationMessagePolicy: 'File',
    ...(settings.resources === undefined ? {} : { resources: settings.resources }),
  });
}
