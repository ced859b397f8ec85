import { nodeFeatureRuleStatus, type NodeFeatureRuleStatus } from '../../api/nfd/node-feature-rule.ts';
import type { Logger } from '../../shared/logger.ts';
import { toConditions, type Finding } from '../module/conditions.ts';
import type { CustomResource, FullMetadata } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { ignoreNotFound, ignoreOutdated, isApiError } from '../runtime/api/errors.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';
import { Informer } from '../runtime/cache/informer.ts';
import { Controller, type ReconcileResult } from '../runtime/controller.ts';
import { isBeingDeleted } from '../runtime/finalizers.ts';
import type { ControllerMetrics } from '../runtime/metrics.ts';
import { isSameValue } from '../runtime/same-value.ts';
import { managedLabel } from './operands/common.ts';
import { openshiftRules, upstreamRules } from './model/resources.ts';

/** Milliseconds after which a rule is tried again that NFD's definitions, missing or older ones, do not take. */
const retryInterval = 60_000;

/** A rule of OpenShift's group in the cache. */
interface CachedRule {
  readonly metadata: FullMetadata;
  readonly spec: unknown;
  readonly status: NodeFeatureRuleStatus | undefined;
}

export interface RuleServices {
  readonly client: ApiClient;
  readonly log: Logger;
  readonly metrics?: ControllerMetrics | undefined;
}

/**
 * Creates the controller that writes for each NodeFeatureRule of nfd.openshift.io the same rule of
 * nfd.k8s-sigs.io, which NFD reads. It disappears with its owner.
 */
export function createRulesController({ client, log, metrics }: RuleServices) {
  const rules = new Informer({ client, log, resource: openshiftRules, project: projectRule });
  const written = new Informer({
    client,
    log,
    resource: upstreamRules,
    project: ({ metadata }: CustomResource) => ({ name: metadata.name }),
  });
  const controller = new Controller({
    name: 'node-feature-rules',
    log,
    metrics,
    reconcile: ({ name }, { signal }) => translate(client, rules.get({ name }), signal),
  });
  controller.watch(rules);
  // Not watched: without NFD's definitions, rules shall say so.
  written.onEvent(({ key }) => controller.enqueue(key));
  return { controller, caches: [rules], run: (signal: AbortSignal) => written.run(signal) };
}

function projectRule({ metadata, spec, status }: CustomResource): CachedRule {
  return { metadata, spec, status: nodeFeatureRuleStatus.safeParse(status).data };
}

async function translate(
  client: ApiClient,
  rule: CachedRule | undefined,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  if (rule === undefined || isBeingDeleted(rule)) return {};
  const finding = await write(client, rule, signal);
  await report(client, rule, finding, signal);
  return finding.status === 'True' ? {} : { requeueAfter: retryInterval };
}

async function write(
  client: ApiClient,
  { metadata, spec }: CachedRule,
  signal: AbortSignal,
): Promise<Finding> {
  const { name, uid = '', labels = {} } = metadata;
  const found = await client.get(upstreamRules, { name }, { signal }).catch(ignoreNotFound);
  const owners = found?.metadata.ownerReferences ?? [];
  if (found !== undefined && !owners.some((owner) => owner.uid === uid)) {
    const message = `There is a NodeFeatureRule ${name} of nfd.k8s-sigs.io already, which is not of this object. Rename one of them.`;
    return notReady('NameTaken', message);
  }
  const owner = { apiVersion: 'nfd.openshift.io/v1', kind: 'NodeFeatureRule', name, uid };
  const object = {
    metadata: {
      name,
      labels: { ...labels, ...managedLabel },
      ownerReferences: [{ ...owner, controller: true, blockOwnerDeletion: true }],
    },
    spec,
  };
  try {
    await client.apply(upstreamRules, object, { force: true, signal });
  } catch (error) {
    if (isApiError(error, 'NOT_FOUND')) {
      return notReady(
        'DefinitionMissing',
        "NFD's own definitions are not installed: kubectl apply --server-side -k deploy/nfd-crds",
      );
    }
    if (isApiError(error, 'INVALID', 'BAD_REQUEST')) return notReady('InvalidRules', error.message);
    throw error;
  }
  return {
    type: 'Ready',
    status: 'True',
    reason: 'Translated',
    message: `NFD reads it as the NodeFeatureRule ${name} of nfd.k8s-sigs.io.`,
  };
}

function notReady(reason: string, message: string): Finding {
  return { type: 'Ready', status: 'False', reason, message };
}

async function report(
  client: ApiClient,
  { metadata, status: earlier }: CachedRule,
  finding: Finding,
  signal: AbortSignal,
): Promise<void> {
  const { name, generation } = metadata;
  const now = new Date().toISOString();
  const conditions = toConditions([finding], { earlier: earlier?.conditions, generation, now });
  const status = { observedGeneration: generation, conditions };
  if (isSameValue(earlier, status)) return;
  await client
    .patch(openshiftRules, { name } satisfies ObjectKey, { status }, { subresource: 'status', signal })
    .catch(ignoreOutdated);
}
