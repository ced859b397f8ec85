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

/** What all controllers of the operator share. */
export interface OperatorContext {
  readonly configuration: OperatorConfiguration;
  readonly client: ApiClient;
  /** They run before and while the controllers do. */
  readonly caches: ClusterCaches;
  readonly preflights: PreflightCaches;
  readonly events: EventRecorder;
  readonly metrics: RuntimeMetrics;
  /** For metrics of a controller's own. */
  readonly registry: Registry;
  /** For registries and the API server. */
  readonly userAgent: string;
  /** Authorities of registries besides the system's; PEM. */
  readonly trustedCertificates: string | undefined;
  readonly log: Logger;
}

/** A cache, as far as it has to be run. */
export type FollowingCache = Pick<Informer<CustomResource, unknown>, 'run' | 'hasSynced'>;

/** A part of the operator that works only while this process leads. */
export interface ControllerSet {
  readonly controllers: readonly Controller[];
  /** Further caches, which follow the cluster while others lead too. */
  readonly caches?: readonly FollowingCache[] | undefined;
  /** Further work until the signal is aborted. */
  run?(signal: AbortSignal): Promise<void>;
}

/** Makes a part of the operator. Called once, before the caches are filled. */
export type ControllerFactory = (context: OperatorContext) => ControllerSet;
