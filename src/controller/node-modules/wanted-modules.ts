import type { NodeModuleSpec } from '../../api/node-modules-config.ts';
import { parseKernel } from '../../builder/kernel.ts';
import { nodeLabels } from '../../builder/labels.ts';
import type { ModuleTarget } from '../../builder/target.ts';
import { KmmError } from '../../shared/errors.ts';
import { resolveTarget } from '../module/kernel-mapping/resolve-target.ts';
import { selectNodes } from '../module/node-groups.ts';
import type { CachedModule } from '../observe/cluster/caches.ts';
import type { NodeFacts } from '../observe/cluster/projections.ts';
import { selects } from '../observe/cluster/resources.ts';

/** The account of pods for which nobody names one. */
const defaultAccount = 'default';

/** What a Module wants of a node. */
export type WantedModule =
  | { readonly entry: NodeModuleSpec; readonly digest: string }
  /** What is there stays, for example while an image is built or the node has a taint. */
  | { readonly namespace: string; readonly name: string; readonly digest: undefined };

/** Returns what Modules want of a node, by namespace and name. */
export function wantedModules(modules: readonly CachedModule[], node: NodeFacts): WantedModule[] {
  return modules
    .flatMap((cached) => wantedOf(cached, node) ?? [])
    .toSorted((one, other) => (nameOf(one) < nameOf(other) ? -1 : 1));
}

function nameOf(wanted: WantedModule): string {
  const { namespace, name } = wanted.digest === undefined ? wanted : wanted.entry;
  return `${namespace}/${name}`;
}

function wantedOf({ module, metadata }: CachedModule, node: NodeFacts): WantedModule | undefined {
  if (module?.spec.moduleLoader === undefined || metadata.deletionTimestamp !== undefined) return undefined;
  const { spec, status } = module;
  if (node.kernelRelease === '' || !selects(spec.selector, node.labels)) return undefined;
  const stays = { namespace: metadata.namespace ?? '', name: metadata.name, digest: undefined };
  const { groups } = selectNodes([node], { selector: spec.selector, tolerations: spec.tolerations ?? [] });
  if (groups.length === 0) return stays;
  const target = targetFor(module, stays, node.kernelRelease);
  if (target === 'invalid') return stays;
  if (target === undefined) return undefined;
  const { version } = target;
  if (version !== undefined) {
    // Nodes change versions one by one.
    const allowed = node.labels[nodeLabels(stays).moduleLoaderVersion];
    if (allowed !== version) return allowed === undefined ? undefined : stays;
  }
  const known = status?.kernels?.find(({ kernelVersion }) => kernelVersion === node.kernelRelease);
  return known?.digest === undefined ? stays : { entry: entryOf(target), digest: known.digest };
}

type Resolved = ModuleTarget | 'invalid' | undefined;

/** Targets by kernel of Modules as they are cached: many nodes run the same kernel. */
const targets = new WeakMap<object, Map<string, Resolved>>();

function targetFor(
  module: NonNullable<CachedModule['module']>,
  name: { readonly namespace: string; readonly name: string },
  release: string,
): Resolved {
  const known = targets.get(module) ?? new Map<string, Resolved>();
  targets.set(module, known);
  if (!known.has(release)) known.set(release, resolve(module, name, release));
  return known.get(release);
}

function resolve(
  { spec }: NonNullable<CachedModule['module']>,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  release: string,
): Resolved {
  try {
    return resolveTarget({ module: { namespace, name }, spec, kernel: parseKernel(release) });
  } catch (error) {
    if (error instanceof KmmError) return 'invalid';
    throw error;
  }
}

function entryOf(target: ModuleTarget): NodeModuleSpec {
  const { module, kernel, version, imageRepoSecret, tolerations, inTreeModulesToRemove } = target;
  return {
    name: module.name,
    namespace: module.namespace,
    serviceAccountName: target.serviceAccountName ?? defaultAccount,
    ...(imageRepoSecret === undefined ? {} : { imageRepoSecret: { name: imageRepoSecret } }),
    ...(tolerations.length === 0 ? {} : { tolerations: [...tolerations] }),
    ...(version === undefined ? {} : { version }),
    config: {
      kernelVersion: kernel.version,
      containerImage: target.image,
      imagePullPolicy: target.imagePullPolicy ?? 'IfNotPresent',
      insecurePull: target.registryTls.insecure === true,
      ...(inTreeModulesToRemove.length === 0 ? {} : { inTreeModulesToRemove: [...inTreeModulesToRemove] }),
      modprobe: target.modprobe,
    },
  };
}
