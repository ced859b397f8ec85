/** What decides over a Module's version labels on a node. */
export interface VersionState {
  /** What the administrator wants there. Undefined: no version, so the Module is not to be there. */
  readonly wanted: string | undefined;
  /** Value of the label that lets a version's module loader run. */
  readonly moduleLoader: string | undefined;
  /** Value of the label that lets a version's device plugin run. */
  readonly devicePlugin: string | undefined;
  /** Whether such a pod is on the node still, be it one that ends. */
  readonly hasModuleLoaderPod: boolean;
  readonly hasDevicePluginPod: boolean;
}

/** One change of one label. Null: the label goes. */
export interface VersionChange {
  readonly label: 'moduleLoaderVersion' | 'devicePluginVersion';
  readonly value: string | null;
}

/**
 * The next change on the way to the version that is wanted. One at a time: pods have to follow before the
 * next. Undefined: all is right, or pods have to go first.
 *
 * The order is KMM's: the old device plugin goes, then the old module loader, then the new module loader
 * comes, then the new device plugin. KMM has a table of states and does nothing in those that its own steps
 * never lead to; a label that was changed by hand, or an administrator who turns back midway, then leaves a
 * node stuck. Here two rules cover every state. First, what does not lead to the wanted version goes, device
 * plugin before module loader; a device plugin's label goes too where the module loader's is not the wanted
 * one, since a device plugin must not be there before its module. Then what is missing comes, module loader
 * before device plugin. In all states of KMM's table this is what the table says.
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
