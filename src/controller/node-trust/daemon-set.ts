import type { V1Container, V1DaemonSet, V1Volume, V1VolumeMount } from '@kubernetes/client-node';
import { commonLabels, labelKeys } from '../../builder/labels.ts';
import { escapeReferences } from '../module/loading/loader-environment.ts';
import { shellProgram } from '../module/loading/loader-program.ts';
import type { TrustPublisher } from './labels.ts';

/** Looks at a node, and reports it once or when it has changed. */
export const reportProgram: string = shellProgram(new URL('report-trust.sh', import.meta.url));

/** Name of the DaemonSet, and the role in labels of its pods. */
export const trustName = 'kmm-operator-node-trust';
const role = 'node-trust';

/** The labels of its pods. */
export const trustPodLabels = { [labelKeys.role]: role };

/** Directories of `reportProgram`. */
const directories = {
  /** The node's /proc and /sys. */
  proc: '/host/proc',
  sys: '/host/sys',
  /** What was reported last. */
  state: '/run/kmm-trust',
  /** The node's features.d; only where Node Feature Discovery publishes. */
  features: '/host/features.d',
} as const;

/** Where Node Feature Discovery reads features on a node. */
const featuresDirectory = '/etc/kubernetes/node-feature-discovery/features.d';

export interface TrustOptions {
  readonly namespace: string;
  /** The image of module loaders, which has keyctl. */
  readonly image: string;
  readonly serviceAccountName: string;
  readonly seLinuxType: string;
  readonly publisher: TrustPublisher;
}

/** Returns the DaemonSet whose pods look at the node. They have no rights on the API server, and change nothing. */
export function trustDaemonSet(options: TrustOptions): V1DaemonSet {
  const { namespace, publisher, serviceAccountName } = options;
  const labels = { ...commonLabels('node-trust', role), ...trustPodLabels };
  const { volumes, mounts } = files(publisher);
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: trustName, namespace, labels },
    spec: {
      selector: { matchLabels: trustPodLabels },
      // Looking takes seconds on each node.
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '100%' } },
      template: {
        metadata: { labels },
        spec: {
          serviceAccountName,
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          priorityClassName: 'system-node-critical',
          terminationGracePeriodSeconds: 5,
          tolerations: [{ operator: 'Exists' }],
          initContainers: [container('report', { options, mounts })],
          containers: [container('watch', { options, mounts })],
          volumes,
        },
      },
    },
  };
}

function container(
  name: 'report' | 'watch',
  { options, mounts }: { options: TrustOptions; mounts: V1VolumeMount[] },
): V1Container {
  return {
    name,
    image: options.image,
    command: ['/bin/sh', '-c', escapeReferences(reportProgram), 'node-trust', name],
    env: [{ name: 'KMM_PUBLISHER', value: options.publisher }],
    resources: { requests: { cpu: '1m', memory: '8Mi' }, limits: { memory: '64Mi' } },
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
      // Keyrings belong to root, and the runtimes' default profile forbids keyctl.
      runAsUser: 0,
      seccompProfile: { type: 'Unconfined' },
      seLinuxOptions: { type: options.seLinuxType },
    },
    volumeMounts: mounts,
  };
}

function files(publisher: TrustPublisher): { volumes: V1Volume[]; mounts: V1VolumeMount[] } {
  const { proc, sys, state, features } = directories;
  return {
    volumes: [
      hostVolume('node-proc', '/proc'),
      hostVolume('node-sys', '/sys'),
      { name: 'state', emptyDir: {} },
      ...(publisher === 'nfd' ? [hostVolume('node-features', featuresDirectory, 'DirectoryOrCreate')] : []),
    ],
    mounts: [
      { name: 'node-proc', mountPath: proc, readOnly: true },
      { name: 'node-sys', mountPath: sys, readOnly: true },
      { name: 'state', mountPath: state },
      ...(publisher === 'nfd' ? [{ name: 'node-features', mountPath: features }] : []),
    ],
  };
}

function hostVolume(name: string, path: string, type = 'Directory'): V1Volume {
  return { name, hostPath: { path, type } };
}
