import {
  parseNodeFeatureDiscovery,
  type NodeFeatureDiscovery,
} from '../../api/nfd/node-feature-discovery.ts';
import { KmmError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import type { CustomResource, FullMetadata } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { keyOf, type ObjectKey } from '../runtime/api/object-key.ts';
import { Informer } from '../runtime/cache/informer.ts';
import { nodeFeatureDiscoveries } from './model/resources.ts';

/** A NodeFeatureDiscovery in the cache: parsed, or with the reason why it is invalid. */
export interface CachedDiscovery {
  readonly key: ObjectKey;
  readonly metadata: FullMetadata;
  readonly discovery: NodeFeatureDiscovery | undefined;
  readonly problem: string | undefined;
}

export type DiscoveryCache = Informer<CustomResource, CachedDiscovery>;

/** Creates the cache of the NodeFeatureDiscoveries of a namespace. */
export function createDiscoveryCache(client: ApiClient, namespace: string, log: Logger): DiscoveryCache {
  return new Informer({ client, log, resource: nodeFeatureDiscoveries, selection: { namespace }, project });
}

function project(object: CustomResource): CachedDiscovery {
  const common = { key: keyOf(object), metadata: object.metadata };
  try {
    const discovery = parseNodeFeatureDiscovery(object);
    return { ...common, discovery, problem: undefined };
  } catch (error) {
    if (!(error instanceof KmmError)) throw error;
    return { ...common, discovery: undefined, problem: error.message };
  }
}
