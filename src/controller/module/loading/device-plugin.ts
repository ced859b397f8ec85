import type { V1Container, V1DaemonSet, V1Volume } from '@kubernetes/client-node';
import type { DevicePlugin, ModuleSpec } from '../../../api/module/spec.ts';
import { nonEmpty } from '../../../api/schema/resource.ts';
import { commonLabels, labelKeys, nodeLabels, type ModuleName } from '../../../builder/labels.ts';
import { labelValue, objectName } from '../../../builder/names.ts';
import { serviceAccountOf, type DaemonSetContext } from './settings.ts';

/** The role of device plugins in labels. */
export const devicePluginRole = 'device-plugin';

const socketDirectory = '/var/lib/kubelet/device-plugins';

/** The directory of the kubelet's socket for device plugins. */
const socketVolume: V1Volume = {
  name: 'kubelet-device-plugins',
  hostPath: { path: socketDirectory, type: 'Directory' },
};

/**
 * Returns the DaemonSet of a Module's device plugin. It runs on the nodes that match the selector and, if the
 * Module has a module loader, on which the module is loaded.
 * @returns undefined if the Module has no device plugin
 */
export function devicePluginDaemonSet(
  module: ModuleName,
  spec: ModuleSpec,
  { operator, owner }: Pick<DaemonSetContext, 'operator' | 'owner'>,
): V1DaemonSet | undefined {
  const { devicePlugin, moduleLoader } = spec;
  if (devicePlugin === undefined) return undefined;
  const version = nonEmpty(moduleLoader?.container.version);
  const keys = nodeLabels(module);
  const versionLabel = version === undefined ? {} : { [keys.devicePluginVersion]: version };
  const selected = {
    [labelKeys.moduleName]: labelValue(module.name),
    [labelKeys.role]: devicePluginRole,
    ...versionLabel,
  };
  const labels = { ...commonLabels(module.name, devicePluginRole), ...selected };
  const account = serviceAccountOf(devicePlugin.serviceAccountName, module.namespace, {
    namespace: operator.namespace,
    account: operator.devicePluginServiceAccount,
  });
  const automount = devicePlugin.automountServiceAccountToken;
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: {
      name: nameOf(module, version),
      namespace: module.namespace,
      labels,
      ownerReferences: [owner],
    },
    spec: {
      selector: { matchLabels: selected },
      template: {
        metadata: { labels },
        spec: {
          priorityClassName: 'system-node-critical',
          nodeSelector: {
            ...spec.selector,
            ...(moduleLoader === undefined ? {} : { [keys.ready]: '' }),
            ...versionLabel,
          },
          tolerations: [...(spec.tolerations ?? [])],
          ...(account === undefined ? {} : { serviceAccountName: account }),
          ...(automount === undefined ? {} : { automountServiceAccountToken: automount }),
          imagePullSecrets:
            spec.imageRepoSecret === undefined ? [] : [{ name: spec.imageRepoSecret.name ?? '' }],
          ...(devicePlugin.initContainer === undefined
            ? {}
            : { initContainers: [containerOf('device-plugin-init', devicePlugin.initContainer)] }),
          containers: [pluginContainer(devicePlugin)],
          volumes: [...(devicePlugin.volumes ?? []), socketVolume],
        },
      },
    },
  };
}

function nameOf({ name }: ModuleName, version: string | undefined): string {
  return objectName([name, devicePluginRole], { role: devicePluginRole, name, version });
}

function pluginContainer({ container }: DevicePlugin): V1Container {
  return Object.assign(containerOf('device-plugin', container), {
    securityContext: { privileged: true },
    volumeMounts: [
      ...(container.volumeMounts ?? []),
      { name: socketVolume.name, mountPath: socketDirectory },
    ],
  });
}

function containerOf(name: string, container: DevicePlugin['container']): V1Container {
  const { image, imagePullPolicy, command, args, env, resources, volumeMounts } = container;
  return {
    name,
    image,
    ...(nonEmpty(imagePullPolicy) === undefined ? {} : { imagePullPolicy: imagePullPolicy ?? '' }),
    ...(command === undefined ? {} : { command }),
    ...(args === undefined ? {} : { args }),
    ...(env === undefined ? {} : { env }),
    ...(resources === undefined ? {} : { resources }),
    ...(volumeMounts === undefined ? {} : { volumeMounts }),
  };
}
