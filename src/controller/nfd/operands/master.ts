import type { V1Deployment, V1Job, V1Toleration } from '@kubernetes/client-node';
import { container, ownedMetadata, podLabels, restricted, type OperandInputs } from './common.ts';

const controlPlane = ['node-role.kubernetes.io/control-plane', 'node-role.kubernetes.io/master'];
const tolerations: V1Toleration[] = controlPlane.map((key) => ({
  key,
  operator: 'Exists',
  effect: 'NoSchedule',
}));
const affinity = {
  nodeAffinity: {
    preferredDuringSchedulingIgnoredDuringExecution: controlPlane.map((key) => ({
      weight: 1,
      preference: { matchExpressions: [{ key, operator: 'Exists' }] },
    })),
  },
};
const resources = { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '4Gi' } };

/** Returns the Deployment that labels nodes by what the workers have found. */
export function master(inputs: OperandInputs): V1Deployment {
  const { spec } = inputs;
  const { masterEnvs, masterTolerations = [] } = spec.operand ?? {};
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: ownedMetadata(inputs, 'nfd-master'),
    spec: {
      replicas: 1,
      selector: { matchLabels: podLabels('nfd-master') },
      // Two masters would label nodes at the same time.
      strategy: { type: 'Recreate' },
      template: {
        metadata: { labels: podLabels('nfd-master') },
        spec: {
          serviceAccountName: 'nfd-master',
          enableServiceLinks: false,
          affinity,
          tolerations: [...tolerations, ...masterTolerations],
          containers: [
            container('nfd-master', inputs, { args: masterArguments(inputs), env: masterEnvs, resources }),
          ],
        },
      },
    },
  };
}

function masterArguments({ spec }: OperandInputs): string[] {
  const { extraLabelNs = [], labelWhiteList = '', enableTaints = false } = spec;
  return [
    ...instanceArguments(spec.instance),
    ...(extraLabelNs.length === 0 ? [] : [`-extra-label-ns=${extraLabelNs.join(',')}`]),
    ...(labelWhiteList.trim() === '' ? [] : [`-label-whitelist=${labelWhiteList}`]),
    ...(enableTaints ? ['-enable-taints'] : []),
  ];
}

function instanceArguments(instance = ''): string[] {
  return instance === '' ? [] : [`-instance=${instance}`];
}

/** Name of the Job that prunes. */
export const pruneJobName = 'nfd-prune';

/** Returns the Job that removes everything of NFD from all nodes, once its other programs have ended. */
export function pruneJob(inputs: OperandInputs): V1Job {
  const { image, pullPolicy, spec } = inputs;
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: ownedMetadata(inputs, pruneJobName),
    spec: {
      backoffLimit: 3,
      template: {
        metadata: { labels: podLabels('nfd-prune') },
        spec: {
          serviceAccountName: 'nfd-master',
          enableServiceLinks: false,
          restartPolicy: 'Never',
          affinity,
          tolerations: [...tolerations, ...(spec.operand?.masterTolerations ?? [])],
          containers: [
            {
              name: 'nfd-master',
              image,
              imagePullPolicy: pullPolicy,
              command: ['nfd-master'],
              args: ['-prune', ...instanceArguments(spec.instance)],
              securityContext: restricted,
              resources: { requests: { cpu: '10m', memory: '64Mi' }, limits: { memory: '512Mi' } },
            },
          ],
        },
      },
    },
  };
}
