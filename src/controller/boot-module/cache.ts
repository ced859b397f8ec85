import { parseBootModuleConfig, type BootModuleConfig } from '../../api/boot-module-config.ts';
import { summarizeViolations } from '../../api/schema/resource.ts';
import { checkBootModuleConfig } from '../../api/validation/boot-module-config.ts';
import { KmmError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import type { CustomResource, FullMetadata } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { keyOf, type ObjectKey } from '../runtime/api/object-key.ts';
import type { Resource } from '../runtime/api/resource.ts';
import { Informer } from '../runtime/cache/informer.ts';

/** The modules that nodes of OpenShift load at boot. */
export const bootModuleConfigs: Resource<CustomResource> = {
  group: 'kmm.sigs.x-k8s.io',
  version: 'v1beta1',
  plural: 'bootmoduleconfigs',
  kind: 'BootModuleConfig',
  namespaced: true,
};

/** A BootModuleConfig in the cache: with the reason why it is invalid, if it is. */
export interface CachedBootModule {
  readonly key: ObjectKey;
  readonly metadata: FullMetadata;
  /** Undefined if it cannot be parsed. */
  readonly object: BootModuleConfig | undefined;
  readonly problem: string | undefined;
}

/** A cache of BootModuleConfigs. */
export type BootModuleCache = Informer<CustomResource, CachedBootModule>;

/** Creates the cache. It follows the cluster once it runs. */
export function createBootModuleCache(client: ApiClient, log: Logger): BootModuleCache {
  return new Informer({ client, log, resource: bootModuleConfigs, project });
}

function project(resource: CustomResource): CachedBootModule {
  const common = { key: keyOf(resource), metadata: resource.metadata };
  try {
    const object = parseBootModuleConfig(resource);
    const { errors } = checkBootModuleConfig(object.spec);
    const problem = errors.length === 0 ? undefined : summarizeViolations(errors);
    return { ...common, object, problem };
  } catch (error) {
    if (!(error instanceof KmmError)) throw error;
    return { ...common, object: undefined, problem: error.message };
  }
}
