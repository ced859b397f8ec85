import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { KubeConfig } from '@kubernetes/client-node';
import { Registry } from 'prom-client';
import type { Logger } from '../../shared/log.ts';
import { allCaches, createCaches, type ClusterCaches } from '../cluster/caches.ts';
import { createPreflightCaches } from '../cluster/preflights.ts';
import type { OperatorConfiguration } from '../configuration/configuration.ts';
import { ApiClient } from '../runtime/api/client.ts';
import { createConnection } from '../runtime/api/connection.ts';
import { EventRecorder } from '../runtime/event-recorder.ts';
import { LeaderElection, type LeadershipEnd } from '../runtime/leader/leader-election.ts';
import { createRuntimeMetrics } from '../runtime/metrics.ts';
import type { ControllerFactory, ControllerSet, OperatorContext } from './context.ts';
import { registerKmmMetrics } from './kmm-metrics.ts';
import { runControllers } from './run-controllers.ts';
import { readTrustedCertificates } from './trusted-certificates.ts';
import { serveHealth, serveMetrics } from './servers.ts';

/** Who we are to the API server: owner of fields, source of events. */
const fieldManager = 'kmm-operator';

export interface RunOperatorOptions {
  readonly configuration: OperatorConfiguration;
  readonly kubeconfig: KubeConfig;
  readonly factories: readonly ControllerFactory[];
  /** Of the program. */
  readonly version: string;
  readonly log: Logger;
  /** Stops gracefully: begun work is ended, then the lease is given back. */
  readonly signal: AbortSignal;
}

/**
 * Runs the operator until it is stopped or no longer leads. Caches and servers run always, the controllers
 * while this process leads.
 * @throws what a controller throws that cannot go on
 */
export async function runOperator(options: RunOperatorOptions): Promise<LeadershipEnd> {
  const { configuration, kubeconfig, factories, version, log, signal } = options;
  const registry = new Registry();
  const metrics = createRuntimeMetrics(registry);
  const connection = createConnection(kubeconfig);
  const userAgent = `kmm-operator/${version}`;
  const client = new ApiClient({ connection, fieldManager, userAgent, onAnswer: metrics.onAnswer });
  const caches = createCaches(client, log);
  const identity = `${hostname()}_${randomUUID()}`;
  const events = new EventRecorder({
    client,
    controller: 'kmm.sigs.x-k8s.io/operator',
    instance: hostname(),
    log,
  });
  const trustedCertificates = await readTrustedCertificates(client, configuration);
  const preflights = createPreflightCaches(client, log);
  const shared = { configuration, client, caches, preflights, events, metrics, registry, log };
  const context: OperatorContext = { ...shared, userAgent, trustedCertificates };
  const sets = factories.map((factory) => factory(context));
  for (const key of configuration.withoutEffect) log.warn('configuration key has no effect', { key });

  await using stack = new AsyncDisposableStack();
  stack.defer(() => connection.close());
  followCluster(stack, context);
  stack.use(await serveHealth(configuration.healthProbe, { caches: () => haveSynced(caches) }));
  stack.use(await serveMetrics({ settings: configuration.metrics, registry, client, log }));
  log.info('operator started', { version, namespace: configuration.namespace, identity });
  const end = await runWhileLeading({ context, sets, identity, signal });
  await events.flush();
  log.info('operator stopped', { reason: end });
  return end;
}

/** Runs the caches until the stack is disposed of. */
function followCluster(stack: AsyncDisposableStack, { caches, preflights, registry }: OperatorContext): void {
  registerKmmMetrics(registry, {
    modules: () => caches.modules.list(),
    preflights: () => preflights.validations.size,
  });
  const stop = new AbortController();
  const running = [...allCaches(caches), preflights.validations, preflights.validationsOcp].map((cache) =>
    cache.run(stop.signal),
  );
  stack.defer(async () => {
    stop.abort();
    await Promise.all(running);
  });
}

function haveSynced(caches: ClusterCaches): boolean {
  return allCaches(caches).every(({ hasSynced }) => hasSynced);
}

interface Leading {
  readonly context: OperatorContext;
  readonly sets: readonly ControllerSet[];
  readonly identity: string;
  readonly signal: AbortSignal;
}

async function runWhileLeading({ context, sets, identity, signal }: Leading): Promise<LeadershipEnd> {
  const { configuration, client, metrics, log } = context;
  const { enabled, resourceId, ...times } = configuration.leaderElection;
  if (!enabled) {
    await runControllers(sets, { stop: signal });
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
  return election.run((signals) => runControllers(sets, signals), signal);
}
