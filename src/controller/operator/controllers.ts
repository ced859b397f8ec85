import type { OperatorConfiguration } from '../configuration/configuration.ts';
import { DeviceClassCache } from '../module/device-classes/device-class-cache.ts';
import { createBootModuleCache } from '../boot-module/cache.ts';
import { createBootModuleController } from '../boot-module/controller.ts';
import { createModuleController } from '../module/module-controller.ts';
import { createNodeLabelsController } from '../module/labels/controller.ts';
import { checkDefinitions } from '../kmm-migration/definitions.ts';
import { ownPod, reportDefinitions } from '../kmm-migration/pod-condition.ts';
import { modules } from '../observe/cluster/resources.ts';
import { createFinalizerControllers } from '../kmm-migration/finalizers.ts';
import { createNodeModulesCache } from '../node-modules/cache.ts';
import { createNodeModulesController } from '../node-modules/controller.ts';
import { createNodeTrust } from '../node-trust/controller.ts';
import { createPreflightControllers } from '../preflight/controllers.ts';
import { createClaimCache, createClaimPublisher } from '../spoke/claim-publisher.ts';
import type { ControllerFactory, OperatorContext } from './context.ts';
import { createPipelineParts } from './pipeline-parts.ts';

/** Service accounts that the installation creates in the operator's namespace. */
const serviceAccounts = {
  moduleLoaderServiceAccount: 'kmm-operator-module-loader',
  devicePluginServiceAccount: 'kmm-operator-device-plugin',
} as const;

/** Modules reconciled concurrently, in all and per namespace: most of the work is waiting for registries. */
const maxConcurrentModules = 64;
const maxConcurrentModulesPerNamespace = 8;

/**
 * Returns the parts of a cluster's operator. One managed by a hub publishes its kernels, and does not build,
 * sign or check anything.
 */
export function controllerFactories({ managed }: OperatorConfiguration): readonly ControllerFactory[] {
  return managed ? [...clusterFactories, claimControllers] : clusterFactories;
}

const clusterFactories = [
  imageControllers,
  nodeLabelControllers,
  nodeModulesControllers,
  bootModuleControllers,
  nodeTrustControllers,
  migrationControllers,
] as const satisfies readonly ControllerFactory[];

/** Creates the controllers that see to what KMM has left. */
function migrationControllers(context: OperatorContext): ReturnType<ControllerFactory> {
  const { client, caches, registry, events, log } = context;
  const onOutdated = (note: string): void => {
    // The definition of KMM has no conditions in the status, so events are what users of Modules see.
    for (const { metadata } of caches.modules.list()) {
      const about = { resource: modules, object: { metadata } };
      events.record({ ...about, type: 'Warning', reason: 'OutdatedDefinition', action: 'Check', note });
    }
  };
  return {
    controllers: createFinalizerControllers(context),
    async run(signal) {
      await caches.modules.waitForSync(signal).catch(() => undefined);
      const report = (sentences: readonly string[]): Promise<void> =>
        reportDefinitions(client, ownPod(context.configuration), sentences, { signal });
      await checkDefinitions({ client, registry, log, of: 'cluster', onOutdated, report }, signal);
    },
  };
}

/** Creates the controllers that build, sign and check images, with shared registry caches. */
function imageControllers(context: OperatorContext): ReturnType<ControllerFactory> {
  const { configuration, client, caches, preflights, events, metrics, log } = context;
  const { namespace, managed } = configuration;
  const parts = createPipelineParts(context);
  const { references, images, settings } = parts;
  const deviceClasses = new DeviceClassCache(client, log);
  const services = {
    client,
    caches,
    preflights,
    references,
    deviceClasses,
    images,
    events,
    log,
    metrics: parts.metrics,
    operator: { namespace, ...serviceAccounts },
    loader: configuration.loader,
    settings,
    managed,
  };
  const controller = createModuleController(services, {
    maxConcurrent: maxConcurrentModules,
    maxPerNamespace: maxConcurrentModulesPerNamespace,
    metrics: metrics.controller('module', maxConcurrentModules),
  });
  parts.driverToolkit.onChange(() => {
    for (const { key } of caches.modules.list()) controller.enqueue(key);
  });
  const preflight = managed ? [] : createPreflightControllers(services, metrics);
  return {
    controllers: [controller, ...preflight],
    async run(signal) {
      await Promise.all([parts.run(signal), deviceClasses.run(signal)]);
    },
  };
}

function claimControllers({ client, caches, metrics, log }: OperatorContext): ReturnType<ControllerFactory> {
  const claims = createClaimCache(client, log);
  const { nodes } = caches;
  const publisher = createClaimPublisher({
    client,
    nodes,
    claims,
    log,
    metrics: metrics.controller('kernel-claims', 1),
  });
  return { controllers: [publisher], run: (signal) => claims.run(signal) };
}

function nodeModulesControllers(context: OperatorContext): ReturnType<ControllerFactory> {
  const { client, caches, metrics, log } = context;
  const nodeModules = createNodeModulesCache(client, log);
  const controller = createNodeModulesController({ client, caches, nodeModules, metrics, log });
  // The operator is ready without it: the definition may be missing.
  return { controllers: [controller], run: (signal) => nodeModules.run(signal) };
}

function bootModuleControllers(context: OperatorContext): ReturnType<ControllerFactory> {
  const { client, configuration, metrics, log } = context;
  const bootModules = createBootModuleCache(client, log);
  const loaderImage = configuration.loader.image;
  const boot = createBootModuleController({ client, bootModules, loaderImage, metrics, log });
  // The operator is ready without it: the definition may be missing.
  const run = async (signal: AbortSignal): Promise<void> => {
    await Promise.all([bootModules.run(signal), boot.followMachineConfigs(signal)]);
  };
  return { controllers: [boot.controller], run };
}

function nodeTrustControllers(context: OperatorContext): ReturnType<ControllerFactory> {
  const { configuration, client, caches, metrics, log } = context;
  const { namespace, nodeTrust, loader } = configuration;
  const { image, seLinuxType } = loader;
  if (nodeTrust !== undefined && image === undefined) log.warn('nodeTrust needs loader.image');
  const options =
    nodeTrust === undefined || image === undefined
      ? undefined
      : {
          namespace,
          image,
          serviceAccountName: serviceAccounts.moduleLoaderServiceAccount,
          seLinuxType,
          publisher: nodeTrust.publish,
        };
  const { controller, cache } = createNodeTrust({
    client,
    caches,
    namespace,
    options,
    log,
    metrics: metrics.controller('node-trust', 1),
  });
  return { controllers: [controller], caches: [cache] };
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
