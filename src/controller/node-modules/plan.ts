import type { NodeModuleSpec, NodeModuleStatus } from '../../api/node-modules-config.ts';
import { parseKernel } from '../../builder/kernel.ts';
import { kernelLabelValue, labelKeys, nodeLabels } from '../../builder/labels.ts';
import { labelStem, labelValue } from '../../builder/names.ts';
import { moduleLoaderRole } from '../module/loading/module-loader.ts';
import type { NodeFacts, PodFacts } from '../observe/cluster/projections.ts';
import { isSameValue } from '../runtime/same-value.ts';
import { moduleLabelPrefix, type CachedNodeModules } from './cache.ts';
import type { WantedModule } from './wanted-modules.ts';

/** Who loaded a module, and in which boot: a pod that has not been started since cannot have loaded it again. */
export interface LoadedBy {
  readonly bootId: string;
  readonly startedAt: string | undefined;
}

/** What a node's NodeModulesConfig depends on. */
export interface NodeModulesState {
  readonly node: NodeFacts;
  readonly wanted: readonly WantedModule[];
  /** The pods on the node. */
  readonly pods: readonly PodFacts[];
  readonly present: CachedNodeModules | undefined;
  /** By NAMESPACE/NAME: who was last seen to have loaded it. */
  readonly loadedBy: ReadonlyMap<string, LoadedBy>;
}

/** A node's NodeModulesConfig as it should be. */
export interface NodeModulesPlan {
  readonly spec: readonly NodeModuleSpec[];
  readonly status: readonly NodeModuleStatus[];
  /** Labels that say for which Modules there are entries. */
  readonly labels: Readonly<Record<string, string>>;
  /** NAMESPACE/NAME of modules that KMM has loaded in this boot and that no loader has taken over yet. */
  readonly loadedByKmm: readonly string[];
  readonly loadedBy: ReadonlyMap<string, LoadedBy>;
}

/**
 * Decides what a node's NodeModulesConfig says. A module counts as loaded when a loader is ready for what the
 * spec says: image by digest, kernel and version. What KMM had loaded counts until the node boots again, or
 * until a loader takes it over.
 */
export function planNodeModules(state: NodeModulesState): NodeModulesPlan {
  const { node, wanted, present } = state;
  const spec = wanted.flatMap((one) =>
    one.digest === undefined ? (find(present?.spec, keyOf(one)) ?? []) : [one.entry],
  );
  const digests = new Map(wanted.map((one) => [keyOfWanted(one), one.digest]));
  const loadedBy = new Map<string, LoadedBy>();
  const loaded = spec.flatMap((entry) => {
    const pod = loaderOf(state, entry, digests.get(keyOf(entry)));
    if (pod === undefined) return [];
    loadedBy.set(keyOf(entry), { bootId: node.bootId, startedAt: pod.startedAt });
    return [{ ...entry, bootId: node.bootId }];
  });
  const others = (present?.status ?? []).filter((entry) => find(loaded, keyOf(entry)) === undefined);
  const byKmm = others.filter((entry) => isLoadedByKmm(state, entry));
  const left = others
    .filter((entry) => !byKmm.includes(entry))
    .flatMap((entry) => leftover(state, spec, entry));
  const status = [...loaded, ...byKmm, ...left].toSorted((one, other) =>
    keyOf(one) < keyOf(other) ? -1 : 1,
  );
  return { spec, status, labels: labelsOf(spec, status), loadedByKmm: byKmm.map(keyOf), loadedBy };
}

/** Returns the pod that has loaded what an entry says. */
function loaderOf(
  { node, pods, loadedBy }: NodeModulesState,
  entry: NodeModuleSpec,
  digest: string | undefined,
): PodFacts | undefined {
  if (digest === undefined) return undefined;
  const before = loadedBy.get(keyOf(entry));
  const kernel = kernelLabelValue(parseKernel(node.kernelRelease));
  const { moduleLoaderVersion } = nodeLabels(entry);
  return pods.find((pod) => {
    if (!isLoaderOf(pod, entry) || !pod.ready || pod.deleting || isCleaner(pod)) return false;
    if (pod.labels[labelKeys.kernel] !== kernel || pod.labels[moduleLoaderVersion] !== entry.version)
      return false;
    // After a reboot, the kubelet first reports the new boot, then that the pod is no longer ready.
    const isOfEarlierBoot = before?.bootId !== node.bootId && before?.startedAt === pod.startedAt;
    return !(before !== undefined && isOfEarlierBoot) && pod.images.some((image) => image.endsWith(digest));
  });
}

/**
 * Returns what remains of an entry that no loader confirms: it stays while a loader may still have it in the
 * kernel. If it reads like the spec but the image has changed under its tag, it does not claim to be loaded.
 */
function leftover(
  { node, pods }: NodeModulesState,
  spec: readonly NodeModuleSpec[],
  entry: NodeModuleStatus,
): NodeModuleStatus[] {
  const isHeld = pods.some(
    (pod) => isLoaderOf(pod, entry) && (isCleaner(pod) ? !pod.ready : pod.ready || pod.deleting),
  );
  if (!isHeld || entry.bootId !== node.bootId) return [];
  const { config, bootId: _boot, ...rest } = entry;
  const wanted = find(spec, keyOf(entry));
  return [wanted !== undefined && isSameValue(wanted.config, config) ? rest : entry];
}

function isLoadedByKmm({ node, present }: NodeModulesState, entry: NodeModuleStatus): boolean {
  if (present === undefined || entry.config === undefined || entry.bootId !== node.bootId) return false;
  return !present.isOurs || present.loadedByKmm.includes(keyOf(entry));
}

function isLoaderOf({ key, labels, phase }: PodFacts, { namespace, name }: NodeModuleStatus): boolean {
  if (phase === 'Succeeded' || phase === 'Failed' || key.namespace !== namespace) return false;
  return labels[labelKeys.role] === moduleLoaderRole && labels[labelKeys.moduleName] === labelValue(name);
}

/** Returns whether a loader's pod only unloads: it is ready when the module is gone. */
function isCleaner({ labels }: PodFacts): boolean {
  return labels[labelKeys.loaderMode] === 'unload';
}

function labelsOf(
  spec: readonly NodeModuleSpec[],
  status: readonly NodeModuleStatus[],
): Readonly<Record<string, string>> {
  const inUse = status.filter(({ config }) => config !== undefined);
  return Object.fromEntries([
    ...spec.map((entry) => [labelOf(entry, 'module-configured'), '']),
    ...inUse.map((entry) => [labelOf(entry, 'module-in-use'), '']),
  ] as [string, string][]);
}

function labelOf({ namespace, name }: NodeModuleStatus, what: string): string {
  return `${moduleLabelPrefix}${labelStem(namespace, name)}.${what}`;
}

function find<T extends NodeModuleStatus>(entries: readonly T[] | undefined, key: string): T | undefined {
  return entries?.find((entry) => keyOf(entry) === key);
}

function keyOfWanted(wanted: WantedModule): string {
  return keyOf(wanted.digest === undefined ? wanted : wanted.entry);
}

function keyOf({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${namespace}/${name}`;
}
