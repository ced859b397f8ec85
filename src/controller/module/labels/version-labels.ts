/** What determines a Module's version labels on a node. */
export interface VersionState {
  /** The version that the administrator wants. Undefined: none, so the Module should not be on the node. */
  readonly wanted: string | undefined;
  /** Value of the label that allows a version's module loader to run. */
  readonly moduleLoader: string | undefined;
  /** Value of the label that allows a version's device plugin to run. */
  readonly devicePlugin: string | undefined;
  /** Whether such a pod is still on the node, even if it is terminating. */
  readonly hasModuleLoaderPod: boolean;
  /** Of a device plugin, or of a driver for dynamic resource allocation, which takes its place. */
  readonly hasDevicePluginPod: boolean;
}

/** A change of one label. Null removes it. */
export interface VersionChange {
  readonly label: 'moduleLoaderVersion' | 'devicePluginVersion';
  readonly value: string | null;
}

/**
 * Returns the next change towards the wanted version. There is one at a time: pods have to follow before the
 * next. Returns undefined if the labels are correct, or if pods have to end first.
 *
 * The order is KMM's: the old device plugin goes, then the old module loader, then the new module loader
 * comes, then the new device plugin. KMM has a table of states and does nothing in states that its own steps
 * never lead to, so a node gets stuck if a label is changed by hand, or if an administrator reverts a change
 * midway. Here two rules cover all states. First, labels of other versions are removed, the device plugin's
 * before the module loader's; a device plugin's label is also removed if the module loader's is not the
 * wanted one, since a device plugin must not run before its module is loaded. Then missing labels are added,
 * the module loader's before the device plugin's. In all states of KMM's table, the result is the same.
 */
export function nextVersionChange(state: VersionState): VersionChange | undefined {
  const { wanted, moduleLoader, devicePlugin, hasModuleLoaderPod, hasDevicePluginPod } = state;
  const isLoaderRight = moduleLoader === wanted;
  if (devicePlugin !== undefined && !(isLoaderRight && devicePlugin === wanted)) {
    return { label: 'devicePluginVersion', value: null };
  }
  if (moduleLoader !== undefined && !isLoaderRight) {
    return hasDevicePluginPod ? undefined : { label: 'moduleLoaderVersion', value: null };
  }
  if (wanted === undefined) return undefined;
  if (moduleLoader === undefined) {
    return hasModuleLoaderPod ? undefined : { label: 'moduleLoaderVersion', value: wanted };
  }
  if (devicePlugin !== undefined || hasDevicePluginPod) return undefined;
  return { label: 'devicePluginVersion', value: wanted };
}
