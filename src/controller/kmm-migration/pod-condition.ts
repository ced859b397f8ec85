import { hostname } from 'node:os';
import type { CustomResource } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { ignoreNotFound } from '../runtime/api/errors.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';
import type { Resource } from '../runtime/api/resource.ts';

/** The condition of the operator's pod that says whether the definitions are those of its version. */
export const definitionsCondition = 'kmm.sigs.x-k8s.io/DefinitionsUpToDate';

/** Only one condition is written, with its time as the API server's JSON has it. */
const ownPods: Resource<CustomResource> = {
  group: '',
  version: 'v1',
  plural: 'pods',
  kind: 'Pod',
  namespaced: true,
};

/** Longer messages are cut: one sentence has about 200 characters. */
const maxMessageLength = 2000;

/**
 * Says in a condition of the operator's own pod which definitions are outdated: KMM's have no room for conditions in
 * a Module. Outside a cluster there is no such pod, and nothing is said. @throws ApiError
 */
export async function reportDefinitions(
  client: ApiClient,
  pod: ObjectKey,
  sentences: readonly string[],
  { signal, now = Date.now }: { readonly signal: AbortSignal; readonly now?: () => number },
): Promise<void> {
  const condition =
    sentences.length === 0
      ? { status: 'True', reason: 'UpToDate', message: 'All definitions are of this version' }
      : {
          status: 'False',
          reason: 'OutdatedDefinition',
          message: sentences.join(' ').slice(0, maxMessageLength),
        };
  const lastTransitionTime = new Date(now()).toISOString().replace(/\.\d+/, '');
  const status = { conditions: [{ type: definitionsCondition, lastTransitionTime, ...condition }] };
  const options = { subresource: 'status', force: true, signal };
  await client.apply(ownPods, { metadata: pod, status }, options).catch(ignoreNotFound);
}

/** Returns the pod that this process runs in: its host's name is the pod's. */
export function ownPod({ namespace }: { readonly namespace: string }): ObjectKey {
  return { namespace, name: hostname() };
}
