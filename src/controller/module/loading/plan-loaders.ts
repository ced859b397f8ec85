import type { V1DaemonSet, V1OwnerReference } from '@kubernetes/client-node';
import { labelKeys } from '../../../builder/labels.ts';
import { shortHash, type Json } from '../../../builder/names.ts';
import type { ModuleTarget } from '../../../builder/target.ts';
import { KmmError } from '../../../shared/errors.ts';
import type { DaemonSetFacts, NodeFacts } from '../../observe/cluster/projections.ts';
import { deliveryFor } from './image-delivery.ts';
import { loaderInputs, moduleLoaderDaemonSet, type LoaderImage } from './module-loader.ts';
import type { DaemonSetContext, LoaderSettings, OperatorAccounts } from './settings.ts';

/** What is known about a Module's loaders. */
export interface LoadersFacts {
  /** Kernels with a mapping. */
  readonly results: readonly {
    readonly target: ModuleTarget | KmmError;
    readonly group: { readonly nodes: readonly NodeFacts[] };
    readonly state: { readonly digest?: string | undefined };
  }[];
  /** The Module's DaemonSets in the cluster. */
  readonly daemonSets: readonly DaemonSetFacts[];
  readonly operator: OperatorAccounts;
  readonly loader: LoaderSettings;
}

/** A Module's loaders for the kernels whose image is ready. */
export interface LoadersPlan {
  /** DaemonSets to write. */
  readonly apply: readonly V1DaemonSet[];
  /** Names of these, and of those that stay as an earlier version of the operator wrote them. */
  readonly names: readonly string[];
}

/** Decides on a Module's loaders. Without a loader image there are none. */
export function planLoaders(facts: LoadersFacts, owner: V1OwnerReference): LoadersPlan {
  const { results, daemonSets, operator, loader } = facts;
  const loaderImage = loader.image;
  if (loaderImage === undefined) return { apply: [], names: [] };
  const context = { operator, loader, owner, loaderImage };
  const planned = results.flatMap(({ target, group, state: { digest } }) => {
    if (target instanceof KmmError || digest === undefined) return [];
    const wanted = { digest, delivery: deliveryFor(group.nodes, loader.imageVolumes) };
    const named = moduleLoaderDaemonSet(target, wanted, context);
    const present = daemonSets.find(({ key, deleting }) => key.name === named.metadata?.name && !deleting);
    const image = keepCopying(target, wanted, present, context)
      ? { digest, delivery: 'copy' as const }
      : wanted;
    const daemonSet = withContentHash(
      image === wanted ? named : moduleLoaderDaemonSet(target, image, context),
    );
    return [{ daemonSet, stays: isOfEarlierOperator(daemonSet, present) }];
  });
  return {
    apply: planned.filter(({ stays }) => !stays).map(({ daemonSet }) => daemonSet),
    names: planned.map(({ daemonSet }) => daemonSet.metadata?.name ?? ''),
  };
}

/** Returns whether a loader that copies its image stays so, though its nodes could mount it by now. */
function keepCopying(
  target: ModuleTarget,
  { digest, delivery }: LoaderImage,
  present: DaemonSetFacts | undefined,
  context: Pick<DaemonSetContext, 'operator' | 'loader'>,
): boolean {
  if (delivery === 'copy' || context.loader.imageVolumes !== 'auto') return false;
  return present?.loaderInputs === loaderInputs(target, { digest, delivery: 'copy' }, context);
}

/** Returns whether the present DaemonSet only differs by the version of the operator that wrote it. */
function isOfEarlierOperator({ metadata }: V1DaemonSet, present: DaemonSetFacts | undefined): boolean {
  if (present === undefined || present.unloads) return false;
  const hash = (key: string): string | undefined => metadata?.annotations?.[key];
  return (
    present.loaderInputs === hash(labelKeys.loaderInputs) &&
    present.loaderContent !== hash(labelKeys.loaderContent)
  );
}

function withContentHash(daemonSet: V1DaemonSet): V1DaemonSet {
  const content = shortHash(JSON.parse(JSON.stringify(daemonSet)) as Json);
  const { metadata } = daemonSet;
  const annotations = { ...metadata?.annotations, [labelKeys.loaderContent]: content };
  return Object.assign({}, daemonSet, { metadata: Object.assign({}, metadata, { annotations }) });
}
