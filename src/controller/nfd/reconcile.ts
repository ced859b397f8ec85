import type { NodeFeatureDiscovery } from '../../api/nfd/node-feature-discovery.ts';
import { toConditions, type Finding } from '../module/conditions.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { isServed } from '../runtime/api/discovery.ts';
import { ApiError, ignoreNotFound, ignoreOutdated } from '../runtime/api/errors.ts';
import { formatKey, type KubernetesObject, type ObjectKey } from '../runtime/api/object-key.ts';
import type { ReconcileResult } from '../runtime/controller.ts';
import { addFinalizer, isBeingDeleted } from '../runtime/finalizers.ts';
import { isSameValue } from '../runtime/same-value.ts';
import type { CachedDiscovery, DiscoveryCache } from './cache.ts';
import { chooseImage, defaultPullPolicy } from './model/operand-image.ts';
import type { OperandInputs } from './operands/common.ts';
import { unwantedObjects, wantedObjects } from './operands/operands.ts';
import { finalizer, removeDiscovery, type Removal } from './removal.ts';
import { nodeFeatureDiscoveries, securityContextConstraints } from './model/resources.ts';
import { findIgnoredFields, findProblems } from './model/spec-problems.ts';
import { findingsOf, findingsOfProblem } from './status.ts';

/** Milliseconds until objects that are not followed are written again: accounts, bindings and constraints. */
const resyncInterval = 10 * 60_000;

/** Milliseconds after which a deletion that waits is looked at again. */
const removalInterval = 2000;

export interface DiscoveryServices {
  readonly client: ApiClient;
  readonly discoveries: DiscoveryCache;
  /** The image of the operator's configuration. */
  readonly image: string | undefined;
}

/** Deploys NFD as a NodeFeatureDiscovery says, or removes it. @throws ApiError */
export async function reconcileDiscovery(
  services: DiscoveryServices,
  key: ObjectKey,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const cached = services.discoveries.get(key);
  if (cached === undefined) return {};
  const active = activeOf(services.discoveries);
  if (active !== undefined && active.key.name !== key.name) {
    const message = `${formatKey(active.key)} is older and deploys NFD in this namespace`;
    return report(services, cached, { findings: findingsOfProblem('NotTheOnlyOne', message), signal });
  }
  const { discovery } = cached;
  const isOpenShift = await isServed(services.client, securityContextConstraints, signal);
  const { image, ignored } = chooseImage(discovery?.spec.operand?.image, services.image);
  const inputs = discovery && inputsOf(discovery, { key, image, isOpenShift });
  if (isBeingDeleted(cached)) return remove(services, { cached, inputs, isOpenShift }, signal);
  if (inputs === undefined) {
    const findings = findingsOfProblem('InvalidResource', cached.problem ?? '');
    return report(services, cached, { findings, signal });
  }
  const allIgnored = [
    ...(ignored === undefined ? [] : [ignored]),
    ...findIgnoredFields(inputs.spec, inputs.namespace),
  ];
  const problems = findProblems(inputs.spec);
  if (problems.length > 0) {
    const findings = findingsOfProblem('InvalidResource', problems.join('; '), allIgnored);
    return report(services, cached, { findings, signal });
  }
  await addFinalizer(services.client, nodeFeatureDiscoveries, cached, finalizer, { signal });
  return deploy(services, cached, { inputs, ignored: allIgnored, signal });
}

function orderOf({ metadata }: CachedDiscovery): string {
  return `${metadata.creationTimestamp ?? ''} ${metadata.name}`;
}

/** Returns the one that deploys NFD: the oldest, by creation and then by name. */
function activeOf(discoveries: DiscoveryCache): CachedDiscovery | undefined {
  return discoveries.list().toSorted((one, other) => (orderOf(one) < orderOf(other) ? -1 : 1))[0];
}

async function remove(
  services: DiscoveryServices,
  removal: Removal & { readonly cached: CachedDiscovery },
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const wait = await removeDiscovery(services.client, removal, signal);
  if (wait === undefined) return {};
  const findings: Finding[] = [
    { type: 'Available', status: 'False', ...wait },
    { type: 'Progressing', status: wait.reason === 'PruneFailed' ? 'False' : 'True', ...wait },
    { type: 'Degraded', status: wait.reason === 'PruneFailed' ? 'True' : 'False', ...wait },
  ];
  await report(services, removal.cached, { findings, image: removal.inputs?.image, signal });
  return { requeueAfter: removalInterval };
}

async function deploy(
  services: DiscoveryServices,
  cached: CachedDiscovery,
  { inputs, ignored, signal }: { inputs: OperandInputs; ignored: readonly string[]; signal: AbortSignal },
): Promise<ReconcileResult> {
  const { client } = services;
  const { image } = inputs;
  const applied: KubernetesObject[] = [];
  try {
    for (const { resource, object } of wantedObjects(inputs)) {
      applied.push(await client.apply(resource, object, { force: true, signal }));
    }
    for (const { resource, key } of unwantedObjects(inputs)) {
      await client.delete(resource, key, { signal }).catch(ignoreNotFound);
    }
  } catch (error) {
    if (!(error instanceof ApiError) || signal.aborted) throw error;
    const findings = findingsOfProblem('NotApplied', error.message, ignored);
    await report(services, cached, { findings, image, signal });
    // Tried again with growing pauses.
    throw error;
  }
  const workloads = applied.filter(({ kind = '' }) => ['Deployment', 'DaemonSet'].includes(kind));
  const findings = findingsOf(workloads, ignored);
  await report(services, cached, { findings, image, signal });
  return { requeueAfter: resyncInterval };
}

function inputsOf(
  { metadata, spec }: NodeFeatureDiscovery,
  { key, image, isOpenShift }: { key: ObjectKey; image: string; isOpenShift: boolean },
): OperandInputs {
  return {
    namespace: key.namespace ?? '',
    spec,
    image,
    pullPolicy: spec.operand?.imagePullPolicy ?? defaultPullPolicy(image),
    owner: {
      apiVersion: 'nfd.openshift.io/v1',
      kind: 'NodeFeatureDiscovery',
      name: metadata.name,
      uid: metadata.uid ?? '',
      controller: true,
      blockOwnerDeletion: true,
    },
    isOpenShift,
  };
}

/** Writes the status if it differs. */
async function report(
  { client }: DiscoveryServices,
  { key, metadata, discovery }: CachedDiscovery,
  {
    findings,
    image,
    signal,
  }: { findings: readonly Finding[]; image?: string | undefined; signal: AbortSignal },
): Promise<ReconcileResult> {
  const { generation } = metadata;
  const earlier = discovery?.status;
  const status = {
    observedGeneration: generation,
    conditions: toConditions(findings, {
      earlier: earlier?.conditions,
      generation,
      now: new Date().toISOString(),
    }),
    image,
  };
  if (isSameValue(earlier, status)) return {};
  await client
    .patch(nodeFeatureDiscoveries, key, { status }, { subresource: 'status', signal })
    .catch(ignoreOutdated);
  return {};
}
