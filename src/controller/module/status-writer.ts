import type { ModuleStatus } from '../../api/module/module.ts';
import { modules } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { isApiError } from '../runtime/api/errors.ts';
import type { ObjectMetadata } from '../runtime/api/object-key.ts';
import { isSameValue } from '../runtime/same-value.ts';
import type { NamedModule } from './named-module.ts';

/** Writes the statuses of Modules. */
export class ModuleStatusWriter {
  readonly #client: ApiClient;

  constructor(client: ApiClient) {
    this.#client = client;
  }

  /** @returns `same` if the API server already had this status */
  async write(
    module: NamedModule,
    status: ModuleStatus,
    signal: AbortSignal,
  ): Promise<'same' | 'written' | 'outdated'> {
    if (isSameValue(status, module.status)) return 'same';
    return (await this.apply(module.metadata, status, signal)) ? 'written' : 'outdated';
  }

  /** Writes a status, unless the Module has changed: its event will follow. @returns whether it did */
  async apply(metadata: ObjectMetadata, status: ModuleStatus, signal: AbortSignal): Promise<boolean> {
    const { namespace, name, uid, resourceVersion } = metadata;
    const object = { metadata: { namespace, name, uid, resourceVersion }, status };
    try {
      await this.#client.apply(modules, object, { subresource: 'status', force: true, signal });
      return true;
    } catch (error) {
      if (!isApiError(error, 'CONFLICT', 'NOT_FOUND')) throw error;
      return false;
    }
  }
}
