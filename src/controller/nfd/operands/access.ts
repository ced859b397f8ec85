import type { V1ClusterRoleBinding, V1RoleBinding, V1ServiceAccount } from '@kubernetes/client-node';
import type { SecurityContextConstraints } from '../model/resources.ts';
import { managedLabel, ownedMetadata, type OperandInputs, type OperandName } from './common.ts';

/** The accounts whose ClusterRole is bound in the whole cluster: its name is theirs. */
export const clusterWideAccounts = ['nfd-master', 'nfd-gc', 'nfd-topology-updater'] as const;

const apiGroup = 'rbac.authorization.k8s.io';

/** Returns the account of a program. */
export function serviceAccount(name: OperandName, inputs: OperandInputs): V1ServiceAccount {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: ownedMetadata(inputs, name) };
}

/** Returns what lets an account do its work. The roles come with the installation: this operator only binds them. */
export function clusterRoleBinding(
  name: (typeof clusterWideAccounts)[number],
  { namespace }: Pick<OperandInputs, 'namespace'>,
): V1ClusterRoleBinding {
  return {
    apiVersion: `${apiGroup}/v1`,
    kind: 'ClusterRoleBinding',
    metadata: { name, labels: managedLabel },
    roleRef: { apiGroup, kind: 'ClusterRole', name },
    subjects: [{ kind: 'ServiceAccount', name, namespace }],
  };
}

/** Returns what lets the worker write NodeFeatures in its namespace. */
export function workerRoleBinding(inputs: OperandInputs): V1RoleBinding {
  const name = 'nfd-worker';
  return {
    apiVersion: `${apiGroup}/v1`,
    kind: 'RoleBinding',
    metadata: ownedMetadata(inputs, name),
    roleRef: { apiGroup, kind: 'ClusterRole', name },
    subjects: [{ kind: 'ServiceAccount', name, namespace: inputs.namespace }],
  };
}

/** The programs whose pods mount files of the node. */
export const hostPathAccounts = ['nfd-worker', 'nfd-topology-updater'] as const;

/** Returns what lets the pods of an account mount files of the node, on OpenShift. */
export function securityConstraints(
  name: (typeof hostPathAccounts)[number],
  namespace: string,
): SecurityContextConstraints {
  const isRoot = name === 'nfd-topology-updater';
  return {
    metadata: { name, labels: managedLabel },
    allowHostDirVolumePlugin: true,
    allowHostIPC: false,
    allowHostNetwork: false,
    allowHostPID: false,
    allowHostPorts: false,
    allowPrivilegeEscalation: false,
    allowPrivilegedContainer: false,
    fsGroup: { type: 'RunAsAny' },
    readOnlyRootFilesystem: true,
    requiredDropCapabilities: ['ALL'],
    runAsUser: { type: isRoot ? 'RunAsAny' : 'MustRunAsNonRoot' },
    seLinuxContext: { type: isRoot ? 'RunAsAny' : 'MustRunAs' },
    seccompProfiles: ['runtime/default'],
    supplementalGroups: { type: 'RunAsAny' },
    users: [`system:serviceaccount:${namespace}:${name}`],
    volumes: ['configMap', 'downwardAPI', 'emptyDir', 'hostPath', 'projected', 'secret'],
  };
}
