import { DriverToolkitImages } from '../observe/cluster/driver-toolkit-images.ts';
import { ImageRegistry } from '../observe/images/image-registry.ts';
import type { PipelineSettings } from '../image-pipeline/request.ts';
import { createImageMetrics, type ImageMetrics } from '../module/metrics.ts';
import { ReferenceCache } from '../observe/references/reference-cache.ts';
import type { OperatorContext } from './context.ts';

/** The parts for building and signing that a Module controller and a hub's controllers need. */
export interface PipelineParts {
  readonly references: ReferenceCache;
  readonly driverToolkit: DriverToolkitImages;
  readonly images: ImageRegistry;
  readonly metrics: ImageMetrics;
  readonly settings: PipelineSettings;
  /** Follows references and Driver Toolkit images until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

export interface PipelinePartsOptions {
  /** All images are in one namespace, which may therefore use all concurrent registry requests. */
  readonly oneNamespace?: boolean | undefined;
}

export function createPipelineParts(
  context: OperatorContext,
  { oneNamespace = false }: PipelinePartsOptions = {},
): PipelineParts {
  const { configuration, client, registry, log, trustedCertificates, userAgent } = context;
  const metrics = createImageMetrics(registry);
  const references = new ReferenceCache(client, log);
  const driverToolkit = new DriverToolkitImages(client, log, configuration.driverToolkit.images);
  const limits = oneNamespace ? { perNamespace: Infinity } : {};
  const images = new ImageRegistry({
    log,
    queries: limits,
    contents: limits,
    userAgent,
    trustedCertificates,
    foundTtl: configuration.registry.checkInterval,
    onCheck: (kind, seconds, outcome) => metrics.observeCheck(kind, seconds, outcome),
  });
  return {
    references,
    driverToolkit,
    images,
    metrics,
    settings: pipelineSettings(context, driverToolkit),
    async run(signal) {
      try {
        await Promise.all([references.run(signal), driverToolkit.run(signal)]);
      } finally {
        await images.close();
      }
    },
  };
}

function pipelineSettings(
  { configuration }: OperatorContext,
  driverToolkit: DriverToolkitImages,
): PipelineSettings {
  const { build, sign, job, registry, proxy } = configuration;
  const deadline = { activeDeadlineSeconds: Math.ceil(job.deadline / 1000) };
  return {
    builder: build.builder,
    builderImages: build.images,
    userNamespaces: build.userNamespaces,
    signImage: sign.image,
    buildPodTemplate: { ...deadline, ...build.podTemplate },
    signPodTemplate: { ...deadline, ...sign.podTemplate },
    backoffLimit: job.backoffLimit,
    backoff: job.backoff,
    gcDelay: job.gcDelay,
    trustedCertificates: registry.trustedCertificates,
    proxy,
    driverToolkit: () => driverToolkit.table(),
  };
}
