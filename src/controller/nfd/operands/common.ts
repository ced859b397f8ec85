import type {
  V1Container,
  V1EnvVar,
  V1ObjectMeta,
  V1OwnerReference,
  V1ResourceRequirements,
  V1SecurityContext,
  V1Volume,
  V1VolumeMount,
} from '@kubernetes/client-node';
import type { NodeFeatureDiscoverySpec } from '../../../api/nfd/node-feature-discovery.ts';

/** What operands are made from. */
export interface OperandInputs {
  readonly namespace: string;
  readonly spec: NodeFeatureDiscoverySpec;
  readonly image: string;
  readonly pullPolicy: string;
  /** The NodeFeatureDiscovery: what belongs to it disappears with it. */
  readonly owner: V1OwnerReference;
  readonly isOpenShift: boolean;
}

/** A program of NFD, which is also the name of its workload and account. */
export type OperandName = 'nfd-master' | 'nfd-worker' | 'nfd-gc' | 'nfd-topology-updater';

/** Where NFD looks for its configuration. */
export const configurationDirectory = '/etc/kubernetes/node-feature-discovery';

/** The label by which the objects of this operator are found. */
export const managedLabel = { 'app.kubernetes.io/managed-by': 'kmm-operator' } as const;

/** The port of metrics and health in all programs of NFD. */
const port = 8080;

/** Labels by which a workload selects its pods: those of OpenShift's operator, whose workloads can be taken over. */
export function podLabels(name: OperandName | 'nfd-prune'): Record<string, string> {
  return { app: name };
}

/** Returns the metadata of an object that belongs to the resource. */
export function ownedMetadata({ namespace, owner }: OperandInputs, name: string): V1ObjectMeta {
  return {
    name,
    namespace,
    labels: { ...managedLabel, 'app.kubernetes.io/name': 'node-feature-discovery' },
    ownerReferences: [owner],
  };
}

/** A container's rights, as plain JSON. */
type SecurityContext = { readonly [K in keyof V1SecurityContext]: V1SecurityContext[K] };

/** What a container has besides what all have. */
export interface ContainerOptions {
  readonly args?: readonly string[] | undefined;
  readonly env?: readonly V1EnvVar[] | undefined;
  readonly volumeMounts?: readonly V1VolumeMount[] | undefined;
  readonly resources: V1ResourceRequirements;
  /** Besides that of all. */
  readonly securityContext?: Partial<SecurityContext> | undefined;
}

/** Returns the container of a program that runs as long as its pod. */
export function container(
  name: OperandName,
  { image, pullPolicy }: OperandInputs,
  { args = [], env = [], volumeMounts = [], resources, securityContext = {} }: ContainerOptions,
): V1Container {
  const isHealthy = { httpGet: { path: '/healthz', port: 'http' } };
  return {
    name,
    image,
    imagePullPolicy: pullPolicy,
    command: [name],
    args: [...args],
    env: [
      fromField('NODE_NAME', 'spec.nodeName'),
      fromField('POD_NAME', 'metadata.name'),
      fromField('POD_UID', 'metadata.uid'),
      ...env,
    ],
    ports: [{ name: 'http', containerPort: port, protocol: 'TCP' }],
    startupProbe: { ...isHealthy, failureThreshold: 30 },
    livenessProbe: isHealthy,
    readinessProbe: { ...isHealthy, failureThreshold: 10 },
    resources,
    securityContext: { ...restricted, ...securityContext },
    volumeMounts: [...volumeMounts],
  };
}

/** What the programs of NFD need: nothing. */
export const restricted: SecurityContext = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  seccompProfile: { type: 'RuntimeDefault' },
};

function fromField(name: string, fieldPath: string): V1EnvVar {
  return { name, valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } } };
}

/** Returns a volume of the node's files, and where it is mounted for reading. */
export function hostFiles(
  name: string,
  path: string,
  mountPath: string,
  type = '',
): { volume: V1Volume; mount: V1VolumeMount } {
  return {
    volume: { name, hostPath: { path, ...(type === '' ? {} : { type }) } },
    mount: { name, mountPath, readOnly: true },
  };
}
