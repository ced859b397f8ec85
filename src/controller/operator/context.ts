import { whenAborted } from '../../shared/abortable.ts';
import type { Registry } from 'prom-client';
import type { Logger } from '../../shared/logger.ts';
import type { ClusterCaches } from '../observe/cluster/caches.ts';
import type { PreflightCaches } from '../observe/cluster/preflights.ts';
import type { OperatorConfiguration } from '../configuration/configuration.ts';
import type { CustomResource } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import type { Informer } from '../runtime/cache/informer.ts';
import type { Controller } from '../runtime/controller.ts';
import type { EventRecorder } from '../runtime/event-recorder.ts';
import type { RuntimeMetrics } from '../runtime/metrics.ts';

/** The services that all controllers of the operator share. */
export interface OperatorContext {
  readonly configuration: OperatorConfiguration;
  readonly client: ApiClient;
  /** They run before and while the controllers do. */
  readonly caches: ClusterCaches;
  readonly preflights: PreflightCaches;
  readonly events: EventRecorder;
  readonly metrics: RuntimeMetrics;
  /** For metrics of individual controllers. */
  readonly registry: Registry;
  /** For registries and the API server. */
  readonly userAgent: string;
  /** Authorities trusted for registries besides the system's; PEM. */
  readonly trustedCertificates: string | undefined;
  readonly log: Logger;
}

/** The part of a cache that is needed to run it. */
export type FollowingCache = Pick<Informer<CustomResource, unknown>, 'run' | 'hasSynced'>;

/** A part of the operator that works only while this process leads. */
export interface ControllerSet {
  readonly controllers: readonly Controller[];
  /** Further caches, which also follow the cluster while another process leads. */
  readonly caches?: readonly FollowingCache[] | undefined;
  /** Further work until the signal is aborted. */
  run?(signal: AbortSignal): Promise<void>;
}

/** Creates a part of the operator. Called once, before the caches are filled. */
export type ControllerFactory = (context: OperatorContext) => ControllerSet;

/**
 * Runs controllers until they are stopped. When one fails, all stop.
 * @param stop work in progress is finished, and nothing new is started
 * @param lost nothing more is written
 * @throws the first error
 */
export async function runControllers(
  sets: readonly ControllerSet[],
  stop: AbortSignal,
  lost?: AbortSignal,
): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([stop, failed.signal]);
  const running = sets.flatMap((set) => [
    ...set.controllers.map((controller) => controller.run({ signal, abort: lost })),
    ...(set.run === undefined ? [] : [set.run(signal)]),
  ]);
  const outcomes = await Promise.allSettled([
    ...running.map((one) =>
      one.catch((error: unknown) => {
        failed.abort();
        throw error;
      }),
    ),
    // The process keeps leading even if there is nothing to do.
    whenAborted(signal),
  ]);
  const failure = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
}
