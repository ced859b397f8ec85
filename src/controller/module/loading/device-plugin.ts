import type { V1Container, V1DaemonSet, V1Volume } from '@kubernetes/client-node';
import type { DevicePlugin, ModuleSpec } from '../../../api/module/spec.ts';
import type { ModuleName } from '../../../builder/labels.ts';
import { pluginContainer, pluginDaemonSet, probesOf } from './plugin-daemon-set.ts';
import type { DaemonSetContext } from './settings.ts';

/** The role of device plugins in labels. */
export const devicePluginRole = 'device-plugin';

const socketDirectory = '/var/lib/kubelet/device-plugins';

/** The directory of the kubelet's socket for device plugins. */
const socketVolume: V1Volume = {
  name: 'kubelet-device-plugins',
  hostPath: { path: socketDirectory, type: 'Directory' },
};

/**
 * Returns the DaemonSet of a Module's device plugin.
 * @returns undefined if the Module has no device plugin
 */
export function devicePluginDaemonSet(
  module: ModuleName,
  spec: ModuleSpec,
  context: Pick<DaemonSetContext, 'operator' | 'owner'>,
): V1DaemonSet | undefined {
  const { devicePlugin } = spec;
  if (devicePlugin === undefined) return undefined;
  const { initContainer } = devicePlugin;
  const plugin = {
    role: devicePluginRole,
    operand: devicePlugin,
    containers: [containerOf(devicePlugin)],
    initContainers: initContainer === undefined ? [] : [pluginContainer('device-plugin-init', initContainer)],
    volumes: [socketVolume],
  } as const;
  return pluginDaemonSet(module, spec, plugin, context);
}

function containerOf({ container }: DevicePlugin): V1Container {
  return Object.assign(pluginContainer('device-plugin', container), probesOf(container), {
    securityContext: { privileged: true },
    volumeMounts: [
      ...(container.volumeMounts ?? []),
      { name: socketVolume.name, mountPath: socketDirectory },
    ],
  });
}
