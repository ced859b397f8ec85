import { createBootModuleCache, bootModuleConfigs } from '../../../src/controller/boot-module/cache.ts';
import { createBootModuleController } from '../../../src/controller/boot-module/controller.ts';
import { machineConfigs } from '../../../src/controller/boot-module/machine-configs.ts';
import type { CustomResource } from '../../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import type { Resource } from '../../../src/controller/runtime/api/resource.ts';
import { silentLogger } from '../../../src/shared/logger.ts';
import { startApiServer, type ApiServer } from '../../support/api-server.ts';
import { installCustomResources, installDefinitions } from '../../support/custom-resources.ts';
import { readDefinitions } from '../../support/hub/crds.ts';
import { waitFor } from '../../support/wait-for.ts';

export const machineConfigurations: Resource<CustomResource> = {
  group: 'operator.openshift.io',
  version: 'v1',
  plural: 'machineconfigurations',
  kind: 'MachineConfiguration',
  namespaced: false,
};

/** The condition Ready of a BootModuleConfig. */
export interface Ready {
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

/** An API server with the controller of BootModuleConfigs. */
export interface BootModuleWorld extends AsyncDisposable {
  readonly api: ApiServer;
  readonly client: ApiClient;
  /** Makes the cluster one of OpenShift: with its definitions of MachineConfigs. */
  becomeOpenShift(): Promise<void>;
  startController(): void;
  stopController(): Promise<void>;
  /** Creates a BootModuleConfig in the namespace `default`, for a MachineConfig of its name. */
  create(name: string, spec?: object, metadata?: object): Promise<void>;
  /** Waits until the condition Ready is about this generation and as it should be. */
  eventually(name: string, check: (ready: Ready) => void): Promise<void>;
  machineConfig(name: string): Promise<CustomResource>;
}

export const loaderImage = 'quay.io/kmm/operator@sha256:0123';

export async function startBootModuleWorld(): Promise<BootModuleWorld> {
  const api = await startApiServer();
  const client = await api.client();
  await installCustomResources(client);
  let stop = new AbortController();
  let running: Promise<unknown> = Promise.resolve();
  const own = await api.client(undefined, 'kmm-operator');
  return {
    api,
    client,
    async becomeOpenShift() {
      await installDefinitions(client, readDefinitions('machine-config-crds'));
    },
    startController() {
      stop = new AbortController();
      const bootModules = createBootModuleCache(own, silentLogger);
      const options = { client: own, bootModules, loaderImage, log: silentLogger };
      const boot = createBootModuleController(options);
      running = Promise.all([
        bootModules.run(stop.signal),
        boot.controller.run({ signal: stop.signal }),
        boot.followMachineConfigs(stop.signal),
      ]);
    },
    async stopController() {
      stop.abort();
      await running;
    },
    async create(name, spec = {}, metadata = {}) {
      const whole = {
        machineConfigName: name,
        machineConfigPoolName: 'worker',
        kernelModuleImage: 'quay.io/vendor/driver',
        kernelModuleName: 'hello',
        ...spec,
      };
      await client.create(bootModuleConfigs, {
        metadata: { namespace: 'default', name, ...metadata },
        spec: whole,
      });
    },
    async eventually(name, check) {
      await waitFor(
        async () => {
          const { metadata, status } = await client.get(bootModuleConfigs, { namespace: 'default', name });
          const { observedGeneration, conditions } = status as {
            observedGeneration: number;
            conditions: readonly Ready[];
          };
          const [ready] = conditions;
          if (ready === undefined || observedGeneration !== metadata.generation) throw new Error('no status');
          check(ready);
        },
        { timeout: 20_000, interval: 50 },
      );
    },
    machineConfig: (name) => client.get(machineConfigs, { name }),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      await api[Symbol.asyncDispose]();
    },
  };
}
