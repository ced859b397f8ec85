import type { V1Container, V1DaemonSet, V1Volume, V1VolumeMount } from '@kubernetes/client-node';
import { nonEmpty } from '../../../api/schema/resource.ts';
import { withDigest } from '../../../builder/image-names.ts';
import { commonLabels, kernelLabelValue, labelKeys, nodeLabels } from '../../../builder/labels.ts';
import { labelValue, objectName } from '../../../builder/names.ts';
import type { ModuleTarget } from '../../../builder/target.ts';
import { serviceAccountOf, type DaemonSetContext } from './accounts.ts';
import {
  firmwareHostDirectory,
  loadCommand,
  softDependencies,
  unloadCommand,
  type ModprobeOptions,
} from './modprobe-commands.ts';

/** The role of module loaders in labels. */
export const moduleLoaderRole = 'module-loader';

interface Volumes {
  readonly volumes: V1Volume[];
  readonly volumeMounts: V1VolumeMount[];
}

/**
 * Returns the DaemonSet that loads the module on the nodes that run one kernel: a hook runs modprobe when the
 * container starts, and another when it stops. The image is pinned by digest.
 */
export function moduleLoaderDaemonSet(
  target: ModuleTarget,
  digest: string,
  { operator, owner }: DaemonSetContext,
): V1DaemonSet {
  const { module, kernel, version } = target;
  const versionLabel = version === undefined ? {} : { [nodeLabels(module).moduleLoaderVersion]: version };
  const selected = {
    [labelKeys.moduleName]: labelValue(module.name),
    [labelKeys.kernel]: kernelLabelValue(kernel),
    [labelKeys.role]: moduleLoaderRole,
    ...versionLabel,
  };
  const labels = { ...commonLabels(module.name, moduleLoaderRole), ...selected };
  const order = softDependencies(target.modprobe);
  const account = serviceAccountOf(target.serviceAccountName, module.namespace, {
    namespace: operator.namespace,
    account: operator.moduleLoaderServiceAccount,
  });
  const { volumes, volumeMounts } = volumesOf(target);
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: {
      name: objectName([module.name, kernel.version], {
        role: moduleLoaderRole,
        name: module.name,
        kernel: kernel.release,
        version,
      }),
      namespace: module.namespace,
      labels,
      ownerReferences: [owner],
    },
    spec: {
      selector: { matchLabels: selected },
      template: {
        metadata: {
          labels,
          ...(order === undefined ? {} : { annotations: { [labelKeys.modulesOrder]: order } }),
        },
        spec: {
          priorityClassName: 'system-node-critical',
          shareProcessNamespace: true,
          nodeSelector: {
            ...target.selector,
            [labelKeys.kernel]: kernelLabelValue(kernel),
            ...versionLabel,
          },
          tolerations: [...target.tolerations],
          ...(account === undefined ? {} : { serviceAccountName: account }),
          imagePullSecrets: target.imageRepoSecret === undefined ? [] : [{ name: target.imageRepoSecret }],
          containers: [container(target, digest, volumeMounts)],
          volumes,
        },
      },
    },
  };
}

function container(target: ModuleTarget, digest: string, volumeMounts: V1VolumeMount[]): V1Container {
  const options: ModprobeOptions = target;
  return {
    name: 'module-loader',
    image: withDigest(target.image, digest),
    ...(target.imagePullPolicy === undefined ? {} : { imagePullPolicy: target.imagePullPolicy }),
    command: ['sleep', 'infinity'],
    lifecycle: {
      postStart: { exec: { command: ['/bin/sh', '-c', loadCommand(options)] } },
      preStop: { exec: { command: ['/bin/sh', '-c', unloadCommand(options)] } },
    },
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { add: ['SYS_MODULE'] },
      runAsUser: 0,
      seLinuxOptions: { type: 'spc_t' },
    },
    volumeMounts,
  };
}

function volumesOf({ kernel, modprobe }: ModuleTarget): Volumes {
  const hostModules = `/lib/modules/${kernel.release}`;
  const volumes: V1Volume[] = [
    { name: 'node-lib-modules', hostPath: { path: hostModules, type: 'Directory' } },
  ];
  const volumeMounts: V1VolumeMount[] = [
    { name: 'node-lib-modules', mountPath: hostModules, readOnly: true },
  ];
  if (nonEmpty(modprobe.firmwarePath) !== undefined) {
    volumes.push({
      name: 'node-var-lib-firmware',
      hostPath: { path: firmwareHostDirectory, type: 'DirectoryOrCreate' },
    });
    volumeMounts.push({ name: 'node-var-lib-firmware', mountPath: firmwareHostDirectory });
  }
  if (softDependencies(modprobe) !== undefined) {
    const fieldPath = `metadata.annotations['${labelKeys.modulesOrder}']`;
    volumes.push({
      name: 'modules-order',
      downwardAPI: { items: [{ path: 'softdep.conf', fieldRef: { fieldPath } }] },
    });
    volumeMounts.push({ name: 'modules-order', mountPath: '/etc/modprobe.d', readOnly: true });
  }
  return { volumes, volumeMounts };
}
