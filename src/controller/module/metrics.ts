import { Histogram, type Registry } from 'prom-client';

/** Metrics of the work on images. */
export interface ImageMetrics {
  /** Records a successful Job, from its creation to its end. */
  observeJob(kind: 'build' | 'sign', seconds: number): void;
  /** Records a query to a registry. */
  observeCheck(kind: string, seconds: number, outcome: string): void;
}

/** Seconds, from a small registry request to a build of hours. */
const jobBuckets = [5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200];
const checkBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

/** Registers the histograms. Call it once per registry. */
export function createImageMetrics(registry: Registry): ImageMetrics {
  const registers = [registry];
  const jobs = new Histogram({
    name: 'kmm_job_duration_seconds',
    help: 'Time that build and sign Jobs took that succeeded.',
    labelNames: ['kind'] as const,
    buckets: jobBuckets,
    registers,
  });
  const checks = new Histogram({
    name: 'kmm_image_check_duration_seconds',
    help: 'Time that questions to registries took, by kind and outcome.',
    labelNames: ['kind', 'outcome'] as const,
    buckets: checkBuckets,
    registers,
  });
  return {
    observeJob: (kind, seconds) => jobs.observe({ kind }, seconds),
    observeCheck: (kind, seconds, outcome) => checks.observe({ kind, outcome }, seconds),
  };
}
