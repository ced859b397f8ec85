import type { HubSettings } from '../configuration/configuration.ts';
import type { PipelineServices } from '../image-pipeline/services.ts';
import type { ImageMetrics } from '../module/metrics.ts';
import type { ReferenceCache } from '../observe/references/reference-cache.ts';
import type { EventRecorder } from '../runtime/event-recorder.ts';
import type { HubCaches } from './caches.ts';
import type { HubJobCaches } from './job-caches.ts';

/** What the hub's reconcilers work with. */
export interface HubServices extends Omit<PipelineServices, 'caches' | 'references' | 'admit'> {
  readonly caches: HubCaches & HubJobCaches;
  readonly references: ReferenceCache;
  readonly events: EventRecorder;
  /** The operator's own: Jobs, and the Secrets and ConfigMaps that they use, are there. */
  readonly namespace: string;
  readonly queue: HubSettings;
  readonly metrics?: Pick<ImageMetrics, 'observeJob'> | undefined;
}
