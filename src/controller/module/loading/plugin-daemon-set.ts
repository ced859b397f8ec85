import type { V1Container, V1DaemonSet, V1Volume } from '@kubernetes/client-node';
import type { DevicePlugin, DraDriver, ModuleSpec, OperandContainer } from '../../../api/module/spec.ts';
import { nonEmpty } from '../../../api/schema/resource.ts';
import { commonLabels, labelKeys, nodeLabels, type ModuleName } from '../../../builder/labels.ts';
import { labelValue, objectName } from '../../../builder/names.ts';
import { serviceAccountOf, type DaemonSetContext } from './settings.ts';

/** A plugin for kubelets that a Module asks for. */
export interface KubeletPlugin {
  /** Its role in labels. */
  readonly role: string;
  readonly operand: DevicePlugin | DraDriver;
  readonly containers: readonly [V1Container];
  readonly initContainers: readonly V1Container[];
  /** What it shares with the kubelet. */
  readonly volumes: readonly V1Volume[];
  readonly hostNetwork?: boolean | undefined;
}

/**
 * Returns the DaemonSet of a plugin for kubelets. It runs on the nodes that match the selector and, if the Module
 * has a module loader, on which the module is loaded.
 */
export function pluginDaemonSet(
  module: ModuleName,
  spec: ModuleSpec,
  { role, operand, containers, initContainers, volumes, hostNetwork }: KubeletPlugin,
  { operator, owner }: Pick<DaemonSetContext, 'operator' | 'owner'>,
): V1DaemonSet {
  const { moduleLoader } = spec;
  const version = nonEmpty(moduleLoader?.container.version);
  const keys = nodeLabels(module);
  const versionLabel = version === undefined ? {} : { [keys.devicePluginVersion]: version };
  const selected = {
    [labelKeys.moduleName]: labelValue(module.name),
    [labelKeys.role]: role,
    ...versionLabel,
  };
  const labels = { ...commonLabels(module.name, role), ...selected };
  const account = serviceAccountOf(operand.serviceAccountName, module.namespace, {
    namespace: operator.namespace,
    account: operator.devicePluginServiceAccount,
  });
  const automount = operand.automountServiceAccountToken;
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: {
      name: objectName([module.name, role], { role, name: module.name, version }),
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
          ...(hostNetwork === undefined ? {} : { hostNetwork }),
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
          ...(initContainers.length === 0 ? {} : { initContainers: [...initContainers] }),
          containers: [...containers],
          volumes: [...(operand.volumes ?? []), ...volumes],
        },
      },
    },
  };
}

/** Returns a plugin's container as its Module describes it; without probes, which an init container cannot have. */
export function pluginContainer(name: string, container: OperandContainer): V1Container {
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

/** Returns the probes of a plugin's container that its Module describes. */
export function probesOf({
  startupProbe,
  livenessProbe,
}: OperandContainer): Pick<V1Container, 'startupProbe' | 'livenessProbe'> {
  return {
    ...(startupProbe === undefined ? {} : { startupProbe }),
    ...(livenessProbe === undefined ? {} : { livenessProbe }),
  };
}
