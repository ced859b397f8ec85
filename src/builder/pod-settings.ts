import type { V1Affinity, V1ResourceRequirements, V1Toleration } from '@kubernetes/client-node';
import type { PodTemplate } from '../api/module/build-and-sign.ts';

/** Settings of a pod, merged from the operator's defaults and the Module's settings. */
export interface PodSettings {
  readonly labels: Record<string, string>;
  readonly annotations: Record<string, string>;
  readonly nodeSelector: Record<string, string>;
  readonly tolerations: V1Toleration[];
  readonly affinity?: V1Affinity;
  readonly priorityClassName?: string;
  readonly runtimeClassName?: string;
  readonly schedulerName?: string;
  readonly resources?: V1ResourceRequirements;
  readonly activeDeadlineSeconds: number;
}

/** Default deadline of a Job in seconds. */
const defaultDeadline = 3600;

/** Merges templates: maps and lists are combined; for other fields the last one set wins. */
export function mergeTemplates(...templates: readonly (PodTemplate | undefined)[]): PodSettings {
  const present = templates.filter((template) => template !== undefined);
  const last = <K extends keyof PodTemplate>(key: K): PodTemplate[K] | undefined =>
    present.findLast((template) => template[key] !== undefined)?.[key];
  const affinity = last('affinity');
  const resources = last('resources');
  const names = {
    priorityClassName: last('priorityClassName'),
    runtimeClassName: last('runtimeClassName'),
    schedulerName: last('schedulerName'),
  };
  return {
    labels: Object.assign({}, ...present.map(({ labels }) => labels)),
    annotations: Object.assign({}, ...present.map(({ annotations }) => annotations)),
    nodeSelector: Object.assign({}, ...present.map(({ nodeSelector }) => nodeSelector)),
    tolerations: present.flatMap(({ tolerations }) => tolerations ?? []),
    ...(affinity === undefined ? {} : { affinity }),
    ...(resources === undefined ? {} : { resources }),
    ...definedOnly(names),
    activeDeadlineSeconds: last('activeDeadlineSeconds') ?? defaultDeadline,
  };
}

function definedOnly(values: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const defined: Record<string, string> = {};
  for (const [name, value] of Object.entries(values)) if (value !== undefined) defined[name] = value;
  return defined;
}
