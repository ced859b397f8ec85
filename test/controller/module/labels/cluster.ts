import { Registry } from 'prom-client';
import { vi } from 'vitest';
import { customResourceDefinitions } from '../../../../src/api/crd/definitions.ts';
import { createCaches, type ClusterCaches } from '../../../../src/controller/observe/cluster/caches.ts';
import {
  modules,
  nodes,
  pods,
  type CustomResource,
} from '../../../../src/controller/observe/cluster/resources.ts';
import { createNodeLabelsController } from '../../../../src/controller/module/labels/controller.ts';
import { ApiClient } from '../../../../src/controller/runtime/api/client.ts';
import { createConnection, loadConfig } from '../../../../src/controller/runtime/api/connection.ts';
import { EventRecorder } from '../../../../src/controller/runtime/event-recorder.ts';
import { createRuntimeMetrics } from '../../../../src/controller/runtime/metrics.ts';
import type { KubernetesObject } from '../../../../src/controller/runtime/api/object-key.ts';
import { pathOf, type Resource } from '../../../../src/controller/runtime/api/resource.ts';
import { silentLogger } from '../../../../src/shared/logger.ts';
import type { ApiServer } from '../../../support/api-server.ts';
import { podLabels, release, type PodOptions } from './nodes-and-pods.ts';

const namespaces: Resource = {
  group: '',
  version: 'v1',
  plural: 'namespaces',
  kind: 'Namespace',
  namespaced: false,
};
const definitions: Resource<KubernetesObject & { readonly spec?: unknown }> = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
};

/** Writes what people, DaemonSets and kubelets write. */
export class Cluster {
  readonly client: ApiClient;

  constructor(client: ApiClient) {
    this.client = client;
  }

  async prepare(...names: readonly string[]): Promise<void> {
    for (const definition of customResourceDefinitions()) {
      const { name = '' } = definition.metadata ?? {};
      await this.client.create(definitions, { metadata: { name }, spec: definition.spec });
    }
    for (const name of names) await this.client.create(namespaces, { metadata: { name } });
    await vi.waitFor(() => this.client.request({ method: 'GET', path: pathOf(modules) }), {
      timeout: 30_000,
    });
  }

  async createNode(name: string, labels: Record<string, string> = {}): Promise<void> {
    await this.client.create(nodes, { metadata: { name, labels } });
    const nodeInfo = { kernelVersion: release };
    await this.client.patch(nodes, { name }, { status: { nodeInfo } }, { subresource: 'status' });
  }

  /** A kubelet's sign of life. */
  async heartbeat(name: string): Promise<void> {
    const lastHeartbeatTime = new Date().toISOString();
    const conditions = [{ type: 'Ready', status: 'True', reason: 'KubeletReady', lastHeartbeatTime }];
    await this.client.patch(nodes, { name }, { status: { conditions } }, { subresource: 'status' });
  }

  async label(name: string, labels: Record<string, string | null>): Promise<void> {
    await this.client.patch(nodes, { name }, { metadata: { labels } });
  }

  async labelsOf(name: string): Promise<Record<string, string>> {
    const { metadata } = await this.client.get(nodes, { name });
    return { ...metadata.labels };
  }

  async createModule(namespace: string, name: string, selector: Record<string, string>): Promise<void> {
    const spec = {
      moduleLoader: {
        container: {
          modprobe: { moduleName: name },
          kernelMappings: [{ regexp: '^.+$', containerImage: `example.org/${name}:tag` }],
        },
      },
      selector,
    };
    const module: CustomResource = { metadata: { namespace, name }, spec };
    await this.client.create(modules, module);
  }

  /** A pod as a DaemonSet makes it, not yet ready. */
  async createPod(nodeName: string, options: PodOptions): Promise<{ namespace: string; name: string }> {
    const { namespace = 'drivers', module = 'a', role = 'module-loader' } = options;
    const key = { namespace, name: `${nodeName}-${module}-${role}` };
    const containers = [{ name: role, image: 'example.org/a:tag' }];
    const metadata = { ...key, labels: podLabels(options) };
    await this.client.create(pods, { metadata, spec: { nodeName, containers } });
    return key;
  }

  async setReady(key: { namespace: string; name: string }, status: 'True' | 'False'): Promise<void> {
    const conditions = [{ type: 'Ready', status }];
    await this.client.patch(
      pods,
      key,
      { status: { phase: 'Running', conditions } },
      { subresource: 'status' },
    );
  }

  async createReadyPod(nodeName: string, options: PodOptions): Promise<{ namespace: string; name: string }> {
    const key = await this.createPod(nodeName, options);
    await this.setReady(key, 'True');
    return key;
  }

  /** Asks for the end of a pod, as its DaemonSet does. */
  async deletePod(key: { namespace: string; name: string }): Promise<void> {
    await this.client.delete(pods, key);
  }

  /** Reports the end of a pod's container, as a kubelet does before it deletes the pod. */
  async endContainer(key: { namespace: string; name: string }, exitCode: number): Promise<void> {
    const terminated = { exitCode, reason: exitCode === 0 ? 'Completed' : 'Error' };
    const common = { name: 'module-loader', image: '', imageID: '', ready: false, restartCount: 0 };
    const status = { containerStatuses: [{ ...common, state: { terminated } }] };
    await this.client.patch(pods, key, { status }, { subresource: 'status' });
  }

  /** Deletes a pod as a kubelet does when all has ended. */
  async removePod(key: { namespace: string; name: string }): Promise<void> {
    await this.client.request({ method: 'DELETE', path: pathOf(pods, key), body: { gracePeriodSeconds: 0 } });
  }
}

/** The controller at work. */
export interface RunningController extends AsyncDisposable {
  readonly caches: ClusterCaches;
  readonly events: EventRecorder;
  /** Patches of nodes that the API server answered. */
  readonly patches: () => number;
  /** Keys that were added to the queue. */
  readonly enqueued: () => Promise<number>;
  /** Waits until nothing is queued nor under work. */
  readonly rest: () => Promise<void>;
}

/** Starts the controller against an API server. */
export async function startController(api: ApiServer): Promise<RunningController> {
  let patches = 0;
  const client = new ApiClient({
    connection: createConnection(await loadConfig(api.kubeconfig)),
    fieldManager: 'kmm',
    userAgent: 'kmm-sign-tests',
    onResponse: ({ method }) => {
      if (method === 'PATCH') patches += 1;
    },
  });
  const caches = createCaches(client, silentLogger);
  const registry = new Registry();
  const metrics = createRuntimeMetrics(registry);
  const events = new EventRecorder(await api.client(), 'kmm.sigs.x-k8s.io/test', 'test-0');
  const controller = createNodeLabelsController({ client, caches, events, metrics });
  const stop = new AbortController();
  const { signal } = stop;
  const running = Promise.all([
    ...[caches.nodes, caches.pods, caches.modules].map((cache) => cache.run(signal)),
    controller.run({ signal }),
  ]);
  const valueOf = async (name: string): Promise<number> => {
    const { values } = (await registry.getSingleMetric(name)?.get()) ?? { values: [] };
    return values.reduce((sum, { value }) => sum + value, 0);
  };
  return {
    caches,
    events,
    patches: () => patches,
    enqueued: () => valueOf('workqueue_adds_total'),
    async rest() {
      await vi.waitFor(async () => {
        const busy =
          (await valueOf('workqueue_depth')) + (await valueOf('controller_runtime_active_workers'));
        if (busy > 0) throw new Error('the controller works');
      });
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      await events.flush();
    },
  };
}
