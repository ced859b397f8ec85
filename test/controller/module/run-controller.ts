import { allCaches, createCaches } from '../../../src/controller/cluster/caches.ts';
import { ImageRegistry, type ImageRegistryOptions } from '../../../src/controller/images/image-registry.ts';
import { createModuleController } from '../../../src/controller/module/module-controller.ts';
import { ReferenceCache } from '../../../src/controller/references/reference-cache.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import type { ControllerOptions } from '../../../src/controller/runtime/controller.ts';
import { EventRecorder } from '../../../src/controller/runtime/event-recorder.ts';
import { silentLogger } from '../../../src/shared/log.ts';

export interface RunControllerOptions {
  readonly images?: Partial<ImageRegistryOptions> | undefined;
  readonly controller?: Pick<ControllerOptions, 'maxConcurrent' | 'metrics'> | undefined;
  /** Milliseconds that begun work has to end when it is stopped. @default 1000 */
  readonly gracePeriod?: number | undefined;
}

/** Runs a Module controller on a client; gives the function that stops it. */
export function runController(client: ApiClient, options: RunControllerOptions = {}): () => Promise<void> {
  const stop = new AbortController();
  const log = silentLogger;
  const caches = createCaches(client, log);
  const references = new ReferenceCache({ client, log });
  const images = new ImageRegistry({
    userAgent: 'kmm-sign-tests',
    missingTtl: 200,
    foundTtl: 500,
    ...options.images,
  });
  const services = {
    client,
    caches,
    references,
    images,
    log,
    events: new EventRecorder({ client, controller: 'kmm.sigs.x-k8s.io/operator', instance: 'test' }),
    operator: {
      namespace: 'kmm-operator-system',
      moduleLoaderServiceAccount: 'kmm-operator-module-loader',
      devicePluginServiceAccount: 'kmm-operator-device-plugin',
    },
    settings: {
      builder: 'kaniko' as const,
      userNamespaces: false,
      signImage: 'ghcr.io/kmm-sign/kmm-sign:test',
      backoffLimit: 1,
      backoff: 500,
      gcDelay: 0,
      driverToolkit: () => new Map(),
    },
  };
  const controller = createModuleController(services, options.controller);
  const running = Promise.all([
    ...allCaches(caches).map((cache) => cache.run(stop.signal)),
    references.run(stop.signal),
    controller.run({ signal: stop.signal, gracePeriod: options.gracePeriod ?? 1000 }),
  ]);
  return async () => {
    stop.abort();
    await running;
    await images.close();
  };
}
