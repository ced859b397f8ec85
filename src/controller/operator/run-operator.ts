import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { KubeConfig } from '@kubernetes/client-node';
import { Registry } from 'prom-client';
import type { Logger } from '../../shared/logger.ts';
import { allCaches, createCaches } from '../observe/cluster/caches.ts';
import { createPreflightCaches } from '../observe/cluster/preflights.ts';
import type { OperatorConfiguration, OperatorKind } from '../configuration/configuration.ts';
import { ApiClient } from '../runtime/api/client.ts';
import { createConnection } from '../runtime/api/connection.ts';
import { EventRecorder } from '../runtime/event-recorder.ts';
import { LeaderElection, type LeadershipEnd } from '../runtime/leader/leader-election.ts';
import { createRuntimeMetrics } from '../runtime/metrics.ts';
import {
  runControllers,
  type ControllerFactory,
  type ControllerSet,
  type FollowingCache,
  type OperatorContext,
} from './context.ts';
import { registerKmmMetrics } from './kmm-metrics.ts';
import { readTrustedCertificates } from './pipeline-parts.ts';
import { serveHealth, serveMetrics } from './servers.ts';

/** Our name for the API server: the owner of fields, and the source of events. */
const fieldManager = 'kmm-operator';

/** Rate of requests to the API server about who may read metrics. */
const reviewRate = { perSecond: 5, burst: 20 };

export interface RunOperatorOptions {
  readonly configuration: OperatorConfiguration;
  readonly kubeconfig: KubeConfig;
  readonly factories: readonly ControllerFactory[];
  /** What to follow besides the controllers' own caches: only a cluster has Modules. @default cluster */
  readonly kind?: OperatorKind | undefined;
  /** Version of the program. */
  readonly version: string;
  readonly log: Logger;
  /** Stops gracefully: work in progress is finished, then the lease is released. */
  readonly signal: AbortSignal;
}

/**
 * Runs the operator until it is stopped or loses the lease. Caches and servers always run, controllers only
 * while this process leads.
 * @throws the error of a controller that cannot continue
 */
export async function runOperator(options: RunOperatorOptions): Promise<LeadershipEnd> {
  const { configuration, kubeconfig, factories, kind = 'cluster', version, log, signal } = options;
  const registry = new Registry();
  const metrics = createRuntimeMetrics(registry);
  const connection = createConnection(kubeconfig);
  const userAgent = `kmm-operator/${version}`;
  const client = new ApiClient({ connection, fieldManager, userAgent, onResponse: metrics.onResponse });
  const caches = createCaches(client, log);
  const identity = `${hostname()}_${randomUUID()}`;
  const events = new EventRecorder(
    client,
    `kmm.sigs.x-k8s.io/${kind === 'cluster' ? 'operator' : kind}`,
    hostname(),
    log,
  );
  const trustedCertificates = await readTrustedCertificates(client, configuration);
  const preflights = createPreflightCaches(client, log);
  const shared = { configuration, client, caches, preflights, events, metrics, registry, log };
  const context: OperatorContext = { ...shared, userAgent, trustedCertificates };
  const sets = factories.map((factory) => factory(context));
  for (const key of configuration.ignoredKeys) log.warn('configuration key is ignored', { key });

  await using stack = new AsyncDisposableStack();
  stack.defer(() => connection.close());
  const own = sets.flatMap((set) => set.caches ?? []);
  const followed = kind === 'cluster' ? [...allCaches(caches), ...own] : own;
  follow(stack, kind === 'cluster' ? [...followed, ...measuredCaches(context)] : followed);
  const haveSynced = (): boolean => followed.every(({ hasSynced }) => hasSynced);
  stack.use(await serveHealth(configuration.healthProbe, { caches: haveSynced }));
  // Requests for metrics, with whatever token, must not slow down the controllers.
  const { onResponse } = metrics;
  const reviewer = new ApiClient({ connection, fieldManager, userAgent, onResponse, rate: reviewRate });
  stack.use(await serveMetrics(configuration.metrics, registry, reviewer, log));
  log.info('operator started', { version, namespace: configuration.namespace, identity });
  const end = await runWhileLeading(context, sets, identity, signal);
  await events.flush();
  log.info('operator stopped', { reason: end });
  return end;
}

/** Runs caches until the stack is disposed of. */
function follow(stack: AsyncDisposableStack, caches: readonly Pick<FollowingCache, 'run'>[]): void {
  const stop = new AbortController();
  const running = caches.map((cache) => cache.run(stop.signal));
  stack.defer(async () => {
    stop.abort();
    await Promise.all(running);
  });
}

/** Registers KMM's metrics. Returns the caches that these and preflight validation need. */
function measuredCaches({ caches, preflights, registry }: OperatorContext): Pick<FollowingCache, 'run'>[] {
  registerKmmMetrics(registry, {
    modules: () => caches.modules.list(),
    preflights: () => preflights.validations.size,
  });
  return [preflights.validations, preflights.validationsOcp];
}

async function runWhileLeading(
  context: OperatorContext,
  sets: readonly ControllerSet[],
  identity: string,
  signal: AbortSignal,
): Promise<LeadershipEnd> {
  const { configuration, client, metrics, log } = context;
  const { enabled, resourceId, ...times } = configuration.leaderElection;
  if (!enabled) {
    await runControllers(sets, signal);
    return 'stopped';
  }
  metrics.leader(resourceId, false);
  const election = new LeaderElection({
    client,
    lease: { namespace: configuration.namespace, name: resourceId },
    identity,
    ...times,
    log,
    onChange: (isLeader) => metrics.leader(resourceId, isLeader),
  });
  return election.run(({ stop, lost }) => runControllers(sets, stop, lost), signal);
}
