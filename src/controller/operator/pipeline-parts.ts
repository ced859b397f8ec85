import { configMaps } from '../observe/cluster/resources.ts';
import type { OperatorConfiguration } from '../configuration/configuration.ts';
import { configurationError } from '../configuration/errors.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { ignoreNotFound } from '../runtime/api/errors.ts';
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

/**
 * Creates the parts.
 * @param oneNamespace whether all images are in one namespace, which may then use all registry requests
 */
export function createPipelineParts(context: OperatorContext, oneNamespace = false): PipelineParts {
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
    layerCache: sign.layerCache,
    backoffLimit: job.backoffLimit,
    backoff: job.backoff,
    gcDelay: job.gcDelay,
    trustedCertificates: registry.trustedCertificates,
    proxy,
    driverToolkit: () => driverToolkit.table(),
  };
}

/**
 * Reads the certificates of registries' authorities that the configuration names; undefined if it names none.
 * @throws ConfigurationError if they do not exist, ApiError
 */
export async function readTrustedCertificates(
  client: ApiClient,
  { namespace, registry }: Pick<OperatorConfiguration, 'namespace' | 'registry'>,
): Promise<string | undefined> {
  const { trustedCertificates: reference } = registry;
  if (reference === undefined) return undefined;
  const found = await client.get(configMaps, { namespace, name: reference.configMap }).catch(ignoreNotFound);
  const text = found?.data?.[reference.key];
  if (text !== undefined) return text;
  throw configurationError('The operator configuration', [
    `registry.trustedCertificates: the ConfigMap ${namespace}/${reference.configMap} has no key ${reference.key}, or does not exist`,
  ]);
}
