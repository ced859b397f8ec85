import type { ClusterCaches } from '../observe/cluster/caches.ts';
import type { PreflightCaches } from '../observe/cluster/preflights.ts';
import type { PipelineServices } from '../image-pipeline/request.ts';
import type { ImageRegistry } from '../observe/images/image-registry.ts';
import type { NamespacedKey } from '../observe/references/reference.ts';
import type { ReferenceCache } from '../observe/references/reference-cache.ts';

/** The services of the preflight controllers. */
export interface PreflightContext extends PipelineServices {
  readonly caches: ClusterCaches;
  readonly preflights: PreflightCaches;
  readonly references: ReferenceCache;
  readonly images: ImageRegistry;
  /** The Secret with credentials for release images and Driver Toolkit images. @default no credentials */
  readonly releasePullSecret?: NamespacedKey | undefined;
  /** Milliseconds after which what is not verified is checked again anyway. @default one minute */
  readonly recheckInterval?: number | undefined;
}

const minute = 60_000;

/** Returns the milliseconds after which what is not verified is checked again. */
export function recheckIntervalOf({ recheckInterval = minute }: PreflightContext): number {
  return recheckInterval;
}
