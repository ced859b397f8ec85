import type { V1Deployment } from '@kubernetes/client-node';
import { container, ownedMetadata, podLabels, type OperandInputs } from './common.ts';

/** Returns the Deployment that deletes what is left of nodes that no longer exist. */
export function garbageCollector(inputs: OperandInputs): V1Deployment {
  const { gcNodeSelector, gcTolerations } = inputs.spec.operand ?? {};
  const resources = { requests: { cpu: '10m', memory: '128Mi' }, limits: { memory: '1Gi' } };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: ownedMetadata(inputs, 'nfd-gc'),
    spec: {
      replicas: 1,
      selector: { matchLabels: podLabels('nfd-gc') },
      template: {
        metadata: { labels: podLabels('nfd-gc') },
        spec: {
          serviceAccountName: 'nfd-gc',
          enableServiceLinks: false,
          ...(gcNodeSelector === undefined ? {} : { nodeSelector: gcNodeSelector }),
          ...(gcTolerations === undefined ? {} : { tolerations: gcTolerations }),
          containers: [container('nfd-gc', inputs, { resources })],
        },
      },
    },
  };
}
