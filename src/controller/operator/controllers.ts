import { DriverToolkitImages } from '../driver-toolkit/driver-toolkit-images.ts';
import { ImageRegistry } from '../images/image-registry.ts';
import type { PipelineSettings } from '../image-pipeline/services.ts';
import { createImageMetrics } from '../module/metrics.ts';
import { createModuleController } from '../module/module-controller.ts';
import { createNodeLabelsController } from '../node-labels/controller.ts';
import { createPreflightControllers } from '../preflight/controllers.ts';
import { ReferenceCache } from '../references/reference-cache.ts';
import type { ControllerFactory, OperatorContext } from './context.ts';

/** Accounts that the installation makes, in the operator's namespace. */
const serviceAccounts = {
  moduleLoaderServiceAccount: 'kmm-operator-module-loader',
  devicePluginServiceAccount: 'kmm-operator-device-plugin',
} as const;

/** Modules worked on at a time: most of the work is waiting for registries. */
const maxConcurrentModules = 8;

/** The parts of the operator. */
export const controllerFactories: readonly ControllerFactory[] = [imageControllers, nodeLabelControllers];

/** Those that build, sign and check images: they share what is known of registries. */
function imageControllers(context: OperatorContext): ReturnType<ControllerFactory> {
  const { configuration, client, caches, preflights, events, metrics, registry, log } = context;
  const imageMetrics = createImageMetrics(registry);
  const references = new ReferenceCache({ client, log });
  const driverToolkit = new DriverToolkitImages({
    client,
    log,
    configured: configuration.driverToolkit.images,
  });
  const images = new ImageRegistry({
    log,
    userAgent: context.userAgent,
    trustedCertificates: context.trustedCertificates,
    foundTtl: configuration.registry.checkInterval,
    onCheck: (kind, seconds, outcome) => imageMetrics.observeCheck(kind, seconds, outcome),
  });
  const services = {
    client,
    caches,
    preflights,
    references,
    images,
    events,
    log,
    metrics: imageMetrics,
    operator: { namespace: configuration.namespace, ...serviceAccounts },
    settings: pipelineSettings(context, driverToolkit),
  };
  const controller = createModuleController(services, {
    maxConcurrent: maxConcurrentModules,
    metrics: metrics.controller('module', maxConcurrentModules),
  });
  driverToolkit.onChange(() => {
    for (const { key } of caches.modules.list()) controller.enqueue(key);
  });
  return {
    controllers: [controller, ...createPreflightControllers(services, { metrics })],
    async run(signal) {
      await Promise.all([references.run(signal), driverToolkit.run(signal)]);
      await images.close();
    },
  };
}

function nodeLabelControllers({
  client,
  caches,
  events,
  metrics,
  log,
}: OperatorContext): ReturnType<ControllerFactory> {
  return { controllers: [createNodeLabelsController({ client, caches, events, metrics, log })] };
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
