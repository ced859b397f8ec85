import type {
  V1ConfigMap,
  V1DaemonSet,
  V1DeviceClass,
  V1Job,
  V1Node,
  V1PersistentVolumeClaim,
  V1Pod,
  V1Secret,
  V1ServiceAccount,
  V1ObjectMeta,
} from '@kubernetes/client-node';
import type { KubernetesObject, ObjectMetadata } from '../../runtime/api/object-key.ts';
import type { Resource } from '../../runtime/api/resource.ts';

/** The part of an owner reference that is read. */
export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean | undefined;
}

/** Metadata as in the API server's JSON: times are strings. */
export interface FullMetadata extends ObjectMetadata {
  readonly generation?: number | undefined;
  readonly creationTimestamp?: string | undefined;
  readonly deletionGracePeriodSeconds?: number | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  readonly ownerReferences?: readonly OwnerReference[] | undefined;
}

/** An object from the API server: the client library's type, but always with metadata. */
export type FromServer<T> = Omit<T, 'metadata' | 'apiVersion' | 'kind'> &
  KubernetesObject & { readonly metadata: FullMetadata };

export type ConfigMap = FromServer<V1ConfigMap>;
export type DaemonSet = FromServer<V1DaemonSet>;
export type DeviceClass = FromServer<V1DeviceClass>;
export type Job = FromServer<V1Job>;
export type Node = FromServer<V1Node>;
export type PersistentVolumeClaim = FromServer<V1PersistentVolumeClaim>;
export type Pod = FromServer<V1Pod>;
export type Secret = FromServer<V1Secret>;
export type ServiceAccount = FromServer<V1ServiceAccount>;
/** The part that is used. */
export interface ValidatingWebhookConfiguration extends KubernetesObject {
  readonly webhooks?: readonly {
    readonly clientConfig: { readonly caBundle?: string; readonly url?: string };
  }[];
}
/** A custom resource: `spec` and `status` are still to be parsed. */
export type CustomResource = KubernetesObject & {
  readonly metadata: FullMetadata;
  readonly spec?: unknown;
  readonly status?: unknown;
};

const core = { group: '', version: 'v1' } as const;

export const configMaps: Resource<ConfigMap> = {
  ...core,
  plural: 'configmaps',
  kind: 'ConfigMap',
  namespaced: true,
};
export const nodes: Resource<Node> = { ...core, plural: 'nodes', kind: 'Node', namespaced: false };
export const persistentVolumeClaims: Resource<PersistentVolumeClaim> = {
  ...core,
  plural: 'persistentvolumeclaims',
  kind: 'PersistentVolumeClaim',
  namespaced: true,
};
export const pods: Resource<Pod> = { ...core, plural: 'pods', kind: 'Pod', namespaced: true };
export const secrets: Resource<Secret> = { ...core, plural: 'secrets', kind: 'Secret', namespaced: true };
export const serviceAccounts: Resource<ServiceAccount> = {
  ...core,
  plural: 'serviceaccounts',
  kind: 'ServiceAccount',
  namespaced: true,
};
export const daemonSets: Resource<DaemonSet> = {
  group: 'apps',
  version: 'v1',
  plural: 'daemonsets',
  kind: 'DaemonSet',
  namespaced: true,
};
/** API servers before Kubernetes 1.34 do not have them. */
export const deviceClasses: Resource<DeviceClass> = {
  group: 'resource.k8s.io',
  version: 'v1',
  plural: 'deviceclasses',
  kind: 'DeviceClass',
  namespaced: false,
};
export const jobs: Resource<Job> = {
  group: 'batch',
  version: 'v1',
  plural: 'jobs',
  kind: 'Job',
  namespaced: true,
};
export const modules: Resource<CustomResource> = {
  group: 'kmm.sigs.x-k8s.io',
  version: 'v1beta1',
  plural: 'modules',
  kind: 'Module',
  namespaced: true,
};
export const nodeModulesConfigs: Resource<CustomResource> = {
  group: 'kmm.sigs.x-k8s.io',
  version: 'v1beta1',
  plural: 'nodemodulesconfigs',
  kind: 'NodeModulesConfig',
  namespaced: false,
};
export const preflightValidations: Resource<CustomResource> = {
  group: 'kmm.sigs.x-k8s.io',
  version: 'v1beta2',
  plural: 'preflightvalidations',
  kind: 'PreflightValidation',
  namespaced: false,
};
export const preflightValidationsOcp: Resource<CustomResource> = {
  group: 'kmm.sigs.x-k8s.io',
  version: 'v1beta2',
  plural: 'preflightvalidationsocp',
  kind: 'PreflightValidationOCP',
  namespaced: false,
};
export const validatingWebhookConfigurations: Resource<ValidatingWebhookConfiguration> = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  plural: 'validatingwebhookconfigurations',
  kind: 'ValidatingWebhookConfiguration',
  namespaced: false,
};

/** Converts an object of the client library's types to one for the API server: ours always have a name. */
export function fromLibrary<T extends { metadata?: V1ObjectMeta }>(object: T): FromServer<T> {
  const { name = '', namespace, labels, annotations, ownerReferences } = object.metadata ?? {};
  return Object.assign({}, object, {
    metadata: { name, namespace, labels, annotations, ownerReferences },
  });
}

/** Returns whether labels match a selector. An empty selector matches all. */
export function selects(
  selector: Readonly<Record<string, string>>,
  labels: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}
