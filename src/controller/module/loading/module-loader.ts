import type { V1Container, V1DaemonSet, V1Volume, V1VolumeMount } from '@kubernetes/client-node';
import { nonEmpty } from '../../../api/schema/resource.ts';
import { withDigest } from '../../../builder/image-names.ts';
import { commonLabels, kernelLabelValue, labelKeys, nodeLabels } from '../../../builder/labels.ts';
import { labelStem, labelValue, objectName, shortHash, type Json } from '../../../builder/names.ts';
import type { ModuleTarget } from '../../../builder/target.ts';
import { deliveryParts, imageVolume, type ImageDelivery } from './image-delivery.ts';
import { escapeReferences, loaderEnvironment, modeVariable, softDependencies } from './loader-environment.ts';
import { loaderDirectories, loaderProgram, modulesOrderFile, readyDirectory } from './loader-program.ts';
import { serviceAccountOf, type DaemonSetContext, type LoaderSettings } from './settings.ts';

/** The role of module loaders in labels. */
export const moduleLoaderRole = 'module-loader';

/** The directory for firmware on the node, where none is configured. */
const defaultFirmwareDirectory = '/var/lib/firmware';

/** How much sooner than Kubernetes a pod gives up unloading, to say why. Seconds. */
const lastWordsSeconds = 5;

/** What a loader loads: a target's image as it was found in the registry. */
export interface LoaderImage {
  readonly digest: string;
  readonly delivery: ImageDelivery;
}

/**
 * Returns the DaemonSet that loads the module on the nodes that run one kernel. Its container is of
 * `loaderImage`; the module's image, pinned by its digest, only brings files.
 */
export function moduleLoaderDaemonSet(
  target: ModuleTarget,
  image: LoaderImage,
  context: DaemonSetContext & { readonly loaderImage: string },
): V1DaemonSet {
  const { operator, loader, owner, loaderImage } = context;
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
  const delivered = deliveryParts(
    image.delivery,
    { reference: withDigest(target.image, image.digest), pullPolicy: target.imagePullPolicy },
    { loaderImage, modprobe: target.modprobe },
  );
  const { volumes, volumeMounts } = volumesOf(target, loader);
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
      annotations: { [labelKeys.loaderInputs]: loaderInputs(target, image, context) },
      ownerReferences: [owner],
    },
    spec: {
      selector: { matchLabels: selected },
      template: {
        metadata: {
          labels: { ...labels, [labelKeys.loaderMode]: 'load' },
          ...(order === undefined ? {} : { annotations: { [labelKeys.modulesOrder]: order } }),
        },
        spec: {
          priorityClassName: 'system-node-critical',
          enableServiceLinks: false,
          terminationGracePeriodSeconds: seconds(loader.unloadTimeout),
          nodeSelector: {
            ...target.selector,
            [labelKeys.kernel]: kernelLabelValue(kernel),
            ...versionLabel,
          },
          tolerations: [...target.tolerations],
          ...(account === undefined ? {} : { serviceAccountName: account }),
          imagePullSecrets: target.imageRepoSecret === undefined ? [] : [{ name: target.imageRepoSecret }],
          ...(delivered.initContainers.length === 0 ? {} : { initContainers: [...delivered.initContainers] }),
          containers: [container(target, context, volumeMounts)],
          volumes: [...delivered.volumes, ...volumes],
        },
      },
    },
  };
}

/**
 * Returns the hash of what a DaemonSet depends on, but for the operator's version: a new operator leaves
 * loaders alone as long as this stays the same, since replacing them unloads the module.
 */
export function loaderInputs(
  target: ModuleTarget,
  { digest, delivery }: LoaderImage,
  { operator, loader }: Pick<DaemonSetContext, 'operator' | 'loader'>,
): string {
  const { image, imagePullPolicy, inTreeModulesToRemove, modprobe, version, kernel } = target;
  const { serviceAccountName, imageRepoSecret, selector, tolerations } = target;
  const { firmwareHostPath, seLinuxType, unloadTimeout } = loader;
  const inputs = [
    { image, imagePullPolicy, inTreeModulesToRemove, modprobe, version, release: kernel.release },
    { serviceAccountName, imageRepoSecret, selector, tolerations, digest, delivery },
    { firmwareHostPath, seLinuxType, unloadTimeout },
    operator.moduleLoaderServiceAccount,
  ];
  return shortHash(JSON.parse(JSON.stringify(inputs)) as Json);
}

function container(
  target: ModuleTarget,
  { loader, loaderImage }: { readonly loader: LoaderSettings; readonly loaderImage: string },
  volumeMounts: V1VolumeMount[],
): V1Container {
  const { modprobe, kernel, module, inTreeModulesToRemove } = target;
  const environment = loaderEnvironment({
    modprobe,
    kernel,
    inTreeModulesToRemove,
    owner: labelStem(module.namespace, module.name),
    firmwareSearchPath: loader.firmwareHostPath,
    unloadSeconds: Math.max(seconds(loader.unloadTimeout) - lastWordsSeconds, 1),
  });
  const isReady = { exec: { command: ['test', '-d', `${readyDirectory}/.`] } };
  return {
    name: 'module-loader',
    image: loaderImage,
    command: ['/bin/sh', '-c', escapeReferences(loaderProgram), 'module-loader'],
    env: [
      ...Object.entries(environment).map(([name, value]) => ({ name, value: escapeReferences(value) })),
      {
        name: modeVariable,
        valueFrom: { fieldRef: { fieldPath: `metadata.labels['${labelKeys.loaderMode}']` } },
      },
    ],
    // Soon after the start, then rarely: each probe is a process on every node.
    startupProbe: { ...isReady, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 3600 },
    readinessProbe: { ...isReady, periodSeconds: 20, timeoutSeconds: 10, failureThreshold: 1 },
    securityContext: {
      allowPrivilegeEscalation: false,
      // SYSLOG: to read the kernel's messages.
      capabilities: { add: ['SYS_MODULE', 'SYSLOG'] },
      runAsUser: 0,
      seLinuxOptions: { type: loader.seLinuxType },
    },
    volumeMounts,
  };
}

function volumesOf(
  { modprobe }: ModuleTarget,
  { firmwareHostPath }: LoaderSettings,
): { readonly volumes: V1Volume[]; readonly volumeMounts: V1VolumeMount[] } {
  const volumes: V1Volume[] = [
    // A node that has no such directory starts the pod all the same, which then says what modprobe does.
    { name: 'node-lib-modules', hostPath: { path: '/lib/modules', type: 'DirectoryOrCreate' } },
  ];
  const volumeMounts: V1VolumeMount[] = [
    { name: imageVolume, mountPath: loaderDirectories.image, readOnly: true },
    { name: 'node-lib-modules', mountPath: loaderDirectories.hostModules, readOnly: true },
  ];
  const add = (volume: V1Volume, mountPath: string, readOnly?: true): void => {
    volumes.push(volume);
    volumeMounts.push({ name: volume.name, mountPath, ...(readOnly === undefined ? {} : { readOnly }) });
  };
  if (nonEmpty(modprobe.firmwarePath) !== undefined) {
    const path = firmwareHostPath ?? defaultFirmwareDirectory;
    const firmware = { name: 'node-firmware', hostPath: { path, type: 'DirectoryOrCreate' } };
    add(firmware, loaderDirectories.hostFirmware);
    if (firmwareHostPath !== undefined) {
      const modules = { name: 'node-sys-module', hostPath: { path: '/sys/module', type: 'Directory' } };
      add(modules, loaderDirectories.hostSysModule);
    }
  }
  if (softDependencies(modprobe) !== undefined) {
    const fieldPath = `metadata.annotations['${labelKeys.modulesOrder}']`;
    const items = [{ path: modulesOrderFile, fieldRef: { fieldPath } }];
    add({ name: 'modules-order', downwardAPI: { items } }, loaderDirectories.modulesOrder, true);
  }
  return { volumes, volumeMounts };
}

function seconds(milliseconds: number): number {
  return Math.max(Math.ceil(milliseconds / 1000), 1);
}
