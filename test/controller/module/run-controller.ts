import { allCaches, createCaches } from '../../../src/controller/observe/cluster/caches.ts';
import { createPreflightCaches } from '../../../src/controller/observe/cluster/preflights.ts';
import {
  ImageRegistry,
  type ImageRegistryOptions,
} from '../../../src/controller/observe/images/image-registry.ts';
import { DeviceClassCache } from '../../../src/controller/module/device-classes/device-class-cache.ts';
import { createModuleController } from '../../../src/controller/module/module-controller.ts';
import { createPreflightControllers } from '../../../src/controller/preflight/controllers.ts';
import { ReferenceCache } from '../../../src/controller/observe/references/reference-cache.ts';
import type { LoaderSettings } from '../../../src/controller/module/loading/settings.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import type { RuntimeMetrics } from '../../../src/controller/runtime/metrics.ts';
import type { ControllerOptions } from '../../../src/controller/runtime/controller.ts';
import { EventRecorder } from '../../../src/controller/runtime/event-recorder.ts';
import { silentLogger } from '../../../src/shared/logger.ts';
import { loaderSettings } from './module-facts.ts';

export interface RunControllerOptions {
  readonly images?: Partial<ImageRegistryOptions> | undefined;
  readonly controller?: Pick<ControllerOptions, 'maxConcurrent' | 'metrics'> | undefined;
  /** For the controllers of preflight validations. */
  readonly preflightMetrics?: RuntimeMetrics | undefined;
  /** As PipelineSettings has them. */
  readonly unusedDelay?: number | undefined;
  readonly loader?: Partial<LoaderSettings> | undefined;
  readonly gcDelay?: number | undefined;
  /** Milliseconds since 1970. @default Date.now */
  readonly now?: (() => number) | undefined;
  /** Milliseconds that begun work has to end when it is stopped. @default 1000 */
  readonly gracePeriod?: number | undefined;
}

/** Runs the controllers of Modules and of preflight validations on a client; gives the function that stops it. */
export function runController(client: ApiClient, options: RunControllerOptions = {}): () => Promise<void> {
  const stop = new AbortController();
  const log = silentLogger;
  const caches = createCaches(client, log);
  const references = new ReferenceCache(client, log);
  const deviceClasses = new DeviceClassCache(client, log, 300);
  const images = new ImageRegistry({
    userAgent: 'kmm-sign-tests',
    missingTtl: 200,
    foundTtl: 500,
    ...options.images,
  });
  const preflights = createPreflightCaches(client, log);
  const services = {
    client,
    caches,
    preflights,
    references,
    deviceClasses,
    images,
    log,
    now: options.now,
    events: new EventRecorder(client, 'kmm.sigs.x-k8s.io/operator', 'test'),
    operator: {
      namespace: 'kmm-operator-system',
      moduleLoaderServiceAccount: 'kmm-operator-module-loader',
      devicePluginServiceAccount: 'kmm-operator-device-plugin',
    },
    loader: { ...loaderSettings, ...options.loader },
    settings: {
      builder: 'kaniko' as const,
      userNamespaces: false,
      signImage: 'ghcr.io/kmm-sign/kmm-sign:test',
      backoffLimit: 1,
      backoff: 500,
      gcDelay: options.gcDelay ?? 0,
      unusedDelay: options.unusedDelay,
      driverToolkit: () => new Map<string, string>(),
    },
  };
  const controllers = [
    createModuleController(services, options.controller),
    ...createPreflightControllers({ ...services, recheckInterval: 300 }, options.preflightMetrics, {
      first: 50,
      limit: 500,
    }),
  ];
  const running = Promise.all([
    ...[...allCaches(caches), preflights.validations, preflights.validationsOcp].map((cache) =>
      cache.run(stop.signal),
    ),
    references.run(stop.signal),
    deviceClasses.run(stop.signal),
    ...controllers.map((controller) =>
      controller.run({ signal: stop.signal, gracePeriod: options.gracePeriod ?? 1000 }),
    ),
  ]);
  return async () => {
    stop.abort();
    await running;
    await images.close();
  };
}
