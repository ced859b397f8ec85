import type { CustomResource, ValidatingWebhookConfiguration } from '../observe/cluster/resources.ts';
import { formatKey } from '../runtime/api/object-key.ts';
import type { Collector } from './collector.ts';
import type { GatherPlan } from './plan.ts';
import { conditionProblems, nameOf, ownProblems, type Problem } from './problems.ts';
import type { Reference } from './references.ts';
import type { SecretFacts } from './secret-facts.ts';
import { podProblems, workloadProblems } from './workload-problems.ts';

/** Resources whose objects report in conditions, by group. */
const withConditions: readonly (readonly [group: string, plural: string])[] = [
  ['', 'nodes'],
  ['batch', 'jobs'],
  ['apps', 'deployments'],
  ['apiextensions.k8s.io', 'customresourcedefinitions'],
  ['cluster.open-cluster-management.io', 'managedclusters'],
  ['work.open-cluster-management.io', 'manifestworks'],
  ['work.open-cluster-management.io', 'appliedmanifestworks'],
];

/** Returns what is wrong, our own resources first. */
export function diagnose(
  collector: Collector,
  {
    plan,
    references,
    operatorNamespaces,
    now,
  }: {
    readonly plan: GatherPlan;
    readonly references: readonly Reference[];
    readonly operatorNamespaces: readonly string[];
    readonly now: Date;
  },
): Problem[] {
  const own = [...collector.all()]
    .filter(([group]) => group === plan.ownGroup)
    .flatMap(([, , objects]) => objects);
  const others = withConditions.flatMap(([group, plural]) => collector.objects(group, plural));
  const workloads = ['deployments', 'daemonsets'].flatMap((plural) => collector.objects('apps', plural));
  return [
    ...own.flatMap((object) => [...conditionProblems(object), ...ownProblems(object)]),
    ...missingReferences(collector, references),
    ...(operatorNamespaces.length > 0
      ? []
      : [
          { object: `Deployment ${plan.operatorName}-controller`, message: 'was not found in any namespace' },
        ]),
    ...workloads.flatMap(workloadProblems),
    ...others.flatMap(conditionProblems),
    ...collector.objects('', 'pods').flatMap(podProblems),
    ...collector
      .objects('admissionregistration.k8s.io', 'validatingwebhookconfigurations')
      .flatMap(webhookProblems),
    ...collector.objects('', 'secrets').flatMap((secret) => certificateProblems(secret, now)),
  ];
}

function missingReferences(collector: Collector, references: readonly Reference[]): Problem[] {
  const missing = new Set(
    collector.missing.map(({ resource, key }) => `${resource.plural} ${formatKey(key)}`),
  );
  return references
    .filter(({ plural, key }) => missing.has(`${plural} ${formatKey(key)}`))
    .map(({ kind, key, from }) => ({
      object: from,
      message: `refers to ${kind} ${formatKey(key)}, which does not exist`,
    }));
}

function webhookProblems(object: CustomResource): Problem[] {
  const { webhooks = [] } = object as ValidatingWebhookConfiguration;
  const untrusted = webhooks.some(({ clientConfig: { caBundle = '' } }) => caBundle === '');
  return untrusted
    ? [{ object: nameOf(object), message: 'has no caBundle: the API server cannot reach the webhook' }]
    : [];
}

function certificateProblems(secret: CustomResource, now: Date): Problem[] {
  return Object.entries((secret as SecretFacts).keys).flatMap(([key, { empty, certificates }]) => [
    ...(empty ? [{ object: nameOf(secret), message: `key ${key} is empty` }] : []),
    ...certificates
      .filter(({ notAfter }) => new Date(notAfter) < now)
      .map(({ subject, notAfter }) => ({
        object: nameOf(secret),
        message: `key ${key}: the certificate of ${subject} expired on ${notAfter}`,
      })),
  ]);
}
