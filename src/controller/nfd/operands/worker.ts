import type { V1ConfigMap, V1DaemonSet } from '@kubernetes/client-node';
import { stringify } from 'yaml';
import { shortHash } from '../../../builder/names.ts';
import { currentCustomRules } from '../model/spec-problems.ts';
import {
  configurationDirectory,
  container,
  hostFiles,
  ownedMetadata,
  podLabels,
  type OperandInputs,
} from './common.ts';

/** The ConfigMap of the worker, and its keys. The first is that of OpenShift's operator. */
const configMapName = 'nfd-worker';
const configurationKey = 'nfd-worker-conf';
const customRulesKey = 'custom-rules';

/** The node's files that the worker reads, besides those that define features. */
const host = [
  hostFiles('host-boot', '/boot', '/host-boot'),
  hostFiles('host-os-release', '/etc/os-release', '/host-etc/os-release'),
  hostFiles('host-sys', '/sys', '/host-sys'),
  hostFiles('host-usr-lib', '/usr/lib', '/host-usr/lib'),
  hostFiles('host-lib', '/lib', '/host-lib'),
  hostFiles('host-proc-swaps', '/proc/swaps', '/host-proc/swaps'),
  hostFiles(
    'features-d',
    `${configurationDirectory}/features.d`,
    `${configurationDirectory}/features.d`,
    'DirectoryOrCreate',
  ),
];

/** Returns the ConfigMap with the worker's configuration. */
export function workerConfiguration(inputs: OperandInputs): V1ConfigMap {
  const custom = currentCustomRules(inputs.spec);
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: ownedMetadata(inputs, configMapName),
    data: {
      [configurationKey]: inputs.spec.workerConfig?.configData ?? '',
      ...(custom === undefined ? {} : { [customRulesKey]: stringify(custom) }),
    },
  };
}

/** Returns the DaemonSet that detects the features of each node. */
export function worker(inputs: OperandInputs): V1DaemonSet {
  const {
    workerEnvs,
    workerTolerations = [],
    workerNodeSelector,
    workerPriorityClassName = '',
  } = inputs.spec.operand ?? {};
  const { data = {} } = workerConfiguration(inputs);
  const projected = projectedConfiguration(customRulesKey in data);
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: ownedMetadata(inputs, 'nfd-worker'),
    spec: {
      selector: { matchLabels: podLabels('nfd-worker') },
      template: {
        metadata: {
          labels: podLabels('nfd-worker'),
          // Some settings are read at the start only.
          annotations: { 'nfd.openshift.io/configuration-hash': shortHash(data) },
        },
        spec: {
          serviceAccountName: 'nfd-worker',
          enableServiceLinks: false,
          ...(workerPriorityClassName === '' ? {} : { priorityClassName: workerPriorityClassName }),
          ...(workerNodeSelector === undefined ? {} : { nodeSelector: workerNodeSelector }),
          // As OpenShift's operator does: taints keep work from nodes, not labels.
          tolerations: [{ operator: 'Exists', effect: 'NoSchedule' }, ...workerTolerations],
          containers: [
            container('nfd-worker', inputs, {
              env: workerEnvs,
              volumeMounts: [...projected.mounts, ...host.map(({ mount }) => mount)],
              resources: { requests: { cpu: '5m', memory: '64Mi' }, limits: { memory: '512Mi' } },
            }),
          ],
          volumes: [...projected.volumes, ...host.map(({ volume }) => volume)],
        },
      },
    },
  };
}

function projectedConfiguration(hasCustomRules: boolean) {
  const rules = hasCustomRules ? ['custom-rules'] : [];
  return {
    volumes: [
      configVolume('nfd-worker-conf', configurationKey, 'nfd-worker.conf'),
      ...rules.map((name) => configVolume(name, customRulesKey, 'custom-rules.yaml')),
    ],
    mounts: [
      readOnly('nfd-worker-conf', configurationDirectory),
      ...rules.map((name) => readOnly(name, `${configurationDirectory}/custom.d`)),
    ],
  };
}

function configVolume(name: string, key: string, path: string) {
  return { name, configMap: { name: configMapName, items: [{ key, path }] } };
}

function readOnly(name: string, mountPath: string) {
  return { name, mountPath, readOnly: true };
}
