import type { KubeConfig } from '@kubernetes/client-node';
import * as z from 'zod';
import type { Logger } from '../../shared/logger.ts';
import { pods } from '../observe/cluster/resources.ts';
import { ApiClient } from '../runtime/api/client.ts';
import { createConnection } from '../runtime/api/connection.ts';
import { objectSchema } from '../runtime/api/object-key.ts';
import { collectEvents, collectObjects, collectReferences } from './collect.ts';
import { Collector } from './collector.ts';
import { diagnose } from './diagnose.ts';
import { createAnonymizer, hostsOf } from './host-names.ts';
import { GatherOutput, summaryFile, toYaml } from './output.ts';
import { clusterPlan, groupsOf, hubPlan } from './plan.ts';
import { gatherPodLogs } from './pod-logs.ts';
import { ServedResources } from './served-resources.ts';
import { writeSummary } from './summary.ts';

/** Requests a second: a gathering must not slow down a cluster that is in trouble. */
const rate = { perSecond: 50, burst: 100 };

export interface GatherOptions {
  readonly kubeconfig: KubeConfig;
  /** Gathers what belongs to a hub's operator, rather than to an operator. */
  readonly hub: boolean;
  /** The operator's namespace. @default those in which its Deployment is found */
  readonly namespace?: string | undefined;
  readonly directory: string;
  /** Replaces the names and addresses of nodes and of the API server. */
  readonly anonymizeHosts: boolean;
  /** Of the program. */
  readonly version: string;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** What was written. */
export interface GatherResult {
  readonly objects: number;
  readonly problems: number;
  readonly failures: number;
}

/**
 * Writes everything about the operator of a cluster to a directory. What may not be read is left out, and listed
 * in the summary.
 * @throws GatherError; ApiError if the API server does not respond, or does not know the user
 */
export async function gather(options: GatherOptions): Promise<GatherResult> {
  const { kubeconfig, hub, directory, version, log, signal } = options;
  const plan = hub ? hubPlan : clusterPlan;
  const connection = createConnection(kubeconfig);
  await using stack = new AsyncDisposableStack();
  stack.defer(() => connection.close());
  const userAgent = `kmm-operator-gather/${version}`;
  const client = new ApiClient({ connection, fieldManager: 'kmm-operator', userAgent, rate });
  const kubernetes = await readVersion(client, signal);
  const collector = new Collector(client, signal);
  const onFailure = (what: string, error: unknown): void => collector.fail(what, error);
  const served = await ServedResources.discover(client, groupsOf(plan), { signal, onFailure });
  const output = await GatherOutput.open(directory);

  const operatorNamespaces = await collectObjects(collector, served, plan, options.namespace);
  const references = await collectReferences(collector, served, plan, operatorNamespaces);
  await collectEvents(collector, served, operatorNamespaces);
  if (options.anonymizeHosts) {
    const hosts = [...collector.objects('', 'nodes').flatMap(hostsOf), connection.host.replace(/:\d+$/, '')];
    output.rewrite = createAnonymizer(hosts, await readIdentity(client, signal));
  }
  log.info('objects read', { failures: collector.failures.length });

  let objects = 0;
  for (const [group, plural, found] of collector.all()) {
    for (const object of found) {
      await output.object(group, plural, object);
      objects += 1;
    }
  }
  const write = (path: readonly string[], text: string): Promise<void> => output.text(path, text);
  await gatherPodLogs(collector.objects(pods.group, pods.plural), { client, signal, write, onFailure });
  const problems = diagnose(collector, { plan, references, operatorNamespaces, now: new Date() });
  const versions = { 'kmm-operator': version, Kubernetes: kubernetes };
  // Two lines that must-gather images of OpenShift write: a name, and its version.
  await output.text(['version'], `kmm-sign/must-gather\n${version}\n`);
  await output.text(['failures.yaml'], toYaml(collector.failures));
  await output.text([summaryFile], writeSummary(collector, { plan, problems, operatorNamespaces, versions }));
  return { objects, problems: problems.length, failures: collector.failures.length };
}

async function readVersion(client: ApiClient, signal: AbortSignal): Promise<string> {
  const answer = await client.request({ method: 'GET', path: '/version', signal });
  return z.looseObject({ gitVersion: z.string() }).parse(answer).gitVersion;
}

/** The cluster's identity, which is written nowhere: pseudonyms cannot be guessed from names alone. */
async function readIdentity(client: ApiClient, signal: AbortSignal): Promise<string> {
  const path = '/api/v1/namespaces/kube-system';
  const answer = await client.request({ method: 'GET', path, signal }).catch(() => undefined);
  return objectSchema.safeParse(answer).data?.metadata.uid ?? '';
}
