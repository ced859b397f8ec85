import * as z from 'zod';
import { conditions, envVar, labelMap, toleration } from '../schema/kubernetes.ts';
import { objectMeta, parseResource } from '../schema/resource.ts';

const configuration = (text: string) =>
  z.object({ configData: z.string().describe(text) }).meta({ 'x-kubernetes-preserve-unknown-fields': true });

const tolerations = z.array(toleration).optional();
const environment = z.array(envVar).optional();

const operand = z.object({
  image: z
    .string()
    .optional()
    .describe('Image of NFD. It is not used if the configuration of the operator names one.'),
  imagePullPolicy: z
    .enum(['Always', 'IfNotPresent', 'Never'])
    .optional()
    .describe('When the image is pulled.'),
  namespace: z.string().optional().describe('Without effect: NFD runs in the namespace of this object.'),
  servicePort: z.int().optional().describe('Without effect: NFD has no service any more.'),
  workerEnvs: environment.describe('More environment variables of nfd-worker.'),
  masterEnvs: environment.describe('More environment variables of nfd-master.'),
  workerTolerations: tolerations.describe('More taints that nfd-worker tolerates.'),
  masterTolerations: tolerations.describe('More taints that nfd-master tolerates.'),
  gcTolerations: tolerations.describe('Taints that nfd-gc tolerates.'),
  workerNodeSelector: labelMap.optional().describe('Labels of the nodes whose features are detected.'),
  gcNodeSelector: labelMap.optional().describe('Labels of the nodes on which nfd-gc may run.'),
  workerPriorityClassName: z.string().optional().describe('Priority class of nfd-worker.'),
});

/** What of NFD runs in the namespace, and how. Names are those of all versions of OpenShift's operator. */
export const nodeFeatureDiscoverySpec = z.object({
  operand: operand.optional().describe('The pods of NFD.'),
  topologyUpdater: z.boolean().optional().describe('Run nfd-topology-updater on every node.'),
  topologyupdater: z
    .boolean()
    .optional()
    .describe('The same, as the documentation of OpenShift 4.12 spells it.'),
  instance: z.string().optional().describe('Name of the instance, if there are several in the cluster.'),
  extraLabelNs: z
    .array(z.string())
    .optional()
    .describe('Namespaces of labels that are allowed besides the defaults.'),
  resourceLabels: z
    .array(z.string())
    .optional()
    .describe('Without effect: NFD publishes extended resources by NodeFeatureRules.'),
  labelWhiteList: z
    .string()
    .optional()
    .describe(
      'Regular expression: labels whose name without the namespace does not match are not published.',
    ),
  enableTaints: z.boolean().optional().describe('Let NodeFeatureRules taint nodes.'),
  prunerOnDelete: z
    .boolean()
    .optional()
    .describe(
      'Remove the labels, annotations, taints and resources of NFD from all nodes when this is deleted.',
    ),
  workerConfig: configuration('The configuration file of nfd-worker, YAML.').optional(),
  customConfig: configuration('Rules of the source "custom", YAML.').optional(),
});

/** The state of NFD in the namespace. */
export const nodeFeatureDiscoveryStatus = z.object({
  observedGeneration: z.int().optional(),
  conditions: conditions.optional(),
  image: z.string().optional().describe('The image that is deployed.'),
});

const nodeFeatureDiscovery = z.object({
  apiVersion: z.literal('nfd.openshift.io/v1'),
  kind: z.literal('NodeFeatureDiscovery'),
  metadata: objectMeta,
  spec: nodeFeatureDiscoverySpec,
  // Only we write it; an unreadable status counts as absent and is rewritten.
  status: nodeFeatureDiscoveryStatus.optional().catch(undefined),
});

export type NodeFeatureDiscoverySpec = z.output<typeof nodeFeatureDiscoverySpec>;
export type NodeFeatureDiscoveryStatus = z.output<typeof nodeFeatureDiscoveryStatus>;
/** Asks for NFD in a namespace. */
export type NodeFeatureDiscovery = z.output<typeof nodeFeatureDiscovery>;

/** Parses a NodeFeatureDiscovery. @throws ResourceError INVALID_RESOURCE */
export function parseNodeFeatureDiscovery(value: unknown): NodeFeatureDiscovery {
  return parseResource(nodeFeatureDiscovery, 'NodeFeatureDiscovery', value);
}
