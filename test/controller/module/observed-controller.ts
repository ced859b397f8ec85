import { Registry } from 'prom-client';
import { expect, vi } from 'vitest';
import { modules } from '../../../src/controller/observe/cluster/resources.ts';
import { createRuntimeMetrics } from '../../../src/controller/runtime/metrics.ts';
import { countingClient, reconciles } from '../runtime/counting-client.ts';
import { startModuleWorld, type ModuleWorld } from './module-world.ts';
import { runController } from './run-controller.ts';

const waiting = { timeout: 30_000, interval: 50 };

/** Controllers in a world of their own, with their writes recorded and their reconciles counted. */
export interface ObservedController extends AsyncDisposable {
  readonly world: ModuleWorld;
  /** Method and path of each write, in order. */
  readonly writes: readonly string[];
  /** Waits until a controller has reconciled this many more times than when `change` was called. */
  afterReconciles(controller: string, more: number, change?: () => Promise<unknown>): Promise<void>;
  /** Changes an annotation of a namespace's Module, and waits until the Module has been reconciled. */
  touchModule(namespace: string, value: string): Promise<void>;
}

/** Starts a world and the controllers of Modules and of preflight validations. */
export async function startObservedController(): Promise<ObservedController> {
  const registry = new Registry();
  const metrics = createRuntimeMetrics(registry);
  const world = await startModuleWorld();
  const { client, writes } = await countingClient(world.api.kubeconfig);
  const stop = runController(client, {
    controller: { metrics: metrics.controller('module', 1) },
    preflightMetrics: metrics,
  });
  const afterReconciles: ObservedController['afterReconciles'] = async (controller, more, change) => {
    const before = await reconciles(registry, controller);
    await change?.();
    await vi.waitFor(async () => {
      expect(await reconciles(registry, controller)).toBeGreaterThanOrEqual(before + more);
    }, waiting);
  };
  return {
    world,
    writes,
    afterReconciles,
    touchModule: (namespace, value) =>
      afterReconciles('module', 1, () =>
        world.client.patch(
          modules,
          { namespace, name: 'driver' },
          { metadata: { annotations: { 'example.com/note': value } } },
        ),
      ),
    async [Symbol.asyncDispose]() {
      await stop();
      await world[Symbol.asyncDispose]();
    },
  };
}
