import type { V1DaemonSet } from '@kubernetes/client-node';
import { container, hostFiles, ownedMetadata, podLabels, type OperandInputs } from './common.ts';

const host = [
  hostFiles('host-sys', '/sys', '/host-sys'),
  hostFiles('kubelet-state-files', '/var/lib/kubelet', '/host-var/lib/kubelet'),
];

/** Returns the DaemonSet that writes a NodeResourceTopology for each node. */
export function topologyUpdater(inputs: OperandInputs): V1DaemonSet {
  // The kubelet's socket belongs to root, and on OpenShift to another type.
  const { isOpenShift } = inputs;
  const securityContext = {
    runAsNonRoot: false,
    runAsUser: 0,
    ...(isOpenShift ? { seLinuxOptions: { type: 'container_runtime_t' } } : {}),
  };
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: ownedMetadata(inputs, 'nfd-topology-updater'),
    spec: {
      selector: { matchLabels: podLabels('nfd-topology-updater') },
      template: {
        metadata: { labels: podLabels('nfd-topology-updater') },
        spec: {
          serviceAccountName: 'nfd-topology-updater',
          enableServiceLinks: false,
          containers: [
            container('nfd-topology-updater', inputs, {
              args: [
                '-podresources-socket=/host-var/lib/kubelet/pod-resources/kubelet.sock',
                '-sleep-interval=3s',
              ],
              env: [
                {
                  name: 'NODE_ADDRESS',
                  valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'status.hostIP' } },
                },
              ],
              volumeMounts: host.map(({ mount }) => mount),
              resources: { requests: { cpu: '50m', memory: '40Mi' }, limits: { memory: '60Mi' } },
              securityContext,
            }),
          ],
          volumes: host.map(({ volume }) => volume),
        },
      },
    },
  };
}
