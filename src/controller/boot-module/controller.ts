import type { Logger } from '../../shared/logger.ts';
import { Controller } from '../runtime/controller.ts';
import { metadataOf } from '../runtime/api/resource.ts';
import { Informer, objectOf } from '../runtime/cache/informer.ts';
import type { RuntimeMetrics } from '../runtime/metrics.ts';
import { machineConfigs, servesMachineConfigs } from './machine-configs.ts';
import { reconcileBootModule, type BootModuleContext } from './reconcile.ts';

const controllerName = 'BootModuleConfig';

export interface BootModuleOptions extends BootModuleContext {
  readonly log: Logger;
  readonly metrics?: RuntimeMetrics | undefined;
}

/** The controller of BootModuleConfigs, and what it follows besides them. */
export interface BootModuleController {
  readonly controller: Controller;
  /** Follows MachineConfigs, if the cluster has any, until the signal is aborted. */
  followMachineConfigs(signal: AbortSignal): Promise<void>;
}

/** Creates the controller that writes a MachineConfig for each BootModuleConfig. */
export function createBootModuleController(options: BootModuleOptions): BootModuleController {
  const { client, bootModules, log, metrics } = options;
  const controller = new Controller({
    name: controllerName,
    log,
    metrics: metrics?.controller(controllerName, 1),
    reconcile: (key, { signal }) => reconcileBootModule(options, key, signal),
  });
  controller.watch(bootModules);
  // Some are large, and what is in them is compared by the API server.
  const configs = new Informer({
    client,
    log,
    resource: metadataOf(machineConfigs),
    project: ({ metadata }) => ({ name: metadata.name, generation: metadata.generation }),
  });
  configs.onEvent((event) => {
    const { name } = objectOf(event);
    for (const { key, object } of bootModules.list()) {
      if (object?.spec.machineConfigName === name) controller.enqueue(key);
    }
  });
  return {
    controller,
    async followMachineConfigs(signal) {
      const isServed = await servesMachineConfigs(client, signal).catch(() => !signal.aborted);
      if (isServed) await configs.run(signal);
    },
  };
}
