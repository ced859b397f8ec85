import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { projectNode, type NodeFacts } from '../../../src/controller/observe/cluster/projections.ts';
import { nodes, type Node } from '../../../src/controller/observe/cluster/resources.ts';
import { kernelClaimName, kernelClaimNames } from '../../../src/controller/spoke/kernel-claim.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { Informer } from '../../../src/controller/runtime/cache/informer.ts';
import { isApiError } from '../../../src/controller/runtime/api/errors.ts';
import {
  createClaimCache,
  createClaimPublisher,
  clusterClaims,
} from '../../../src/controller/spoke/claim-publisher.ts';
import { silentLogger } from '../../../src/shared/logger.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../../support/api-server.ts';
import { createRuntimeMetrics } from '../../../src/controller/runtime/metrics.ts';
import { countingClient, reconciles, type CountingClient } from '../runtime/counting-client.ts';
import { installHubResources } from '../../support/hub/crds.ts';
import { describeWith } from '../../support/programs.ts';

/** A release of 59 characters. */
function long(index: number): string {
  return `6.1.0-${String(index).padStart(2, '0')}-${'x'.repeat(50)}`;
}

const controller = 'kernel-claims';
const eventually = { timeout: 30_000, interval: 100 };

describeWith([...apiServerPrograms, 'ocm-work'], 'an operator in spoke mode', () => {
  let server: ApiServer;
  let client: ApiClient;
  /** The publisher's own. */
  let counting: CountingClient;
  let registry: Registry;
  let cache: Informer<Node, NodeFacts>;
  let stop: AbortController;
  let running: Promise<unknown>;
  beforeAll(async () => {
    server = await startApiServer();
    client = await server.client();
    counting = await countingClient(server.kubeconfig);
    await installHubResources(client);
  }, 120_000);
  afterAll(async () => server?.[Symbol.asyncDispose]());
  beforeEach(() => start());
  afterEach(async () => {
    await end();
    await Promise.all(names.splice(0).map((name) => client.delete(nodes, { name })));
  });

  const names: string[] = [];

  function start(): void {
    stop = new AbortController();
    const { signal } = stop;
    cache = new Informer({ client, resource: nodes, project: projectNode });
    const claims = createClaimCache(client, silentLogger);
    registry = new Registry();
    const publisher = createClaimPublisher({
      client: counting.client,
      nodes: cache,
      claims,
      log: silentLogger,
      metrics: createRuntimeMetrics(registry).controller(controller, 1),
    });
    running = Promise.all([cache.run(signal), claims.run(signal), publisher.run({ signal })]);
  }

  async function end(): Promise<void> {
    stop.abort();
    await running;
  }

  async function addNode(kernelVersion: string): Promise<string> {
    const name = `node-${names.length}`;
    names.push(name);
    await client.create(nodes, { metadata: { name } });
    await bootNode(name, kernelVersion);
    return name;
  }

  async function bootNode(name: string, kernelVersion: string): Promise<void> {
    const info = {
      kernelVersion,
      architecture: 'amd64',
      operatingSystem: 'linux',
      osImage: 'Debian',
      bootID: '',
    };
    const others = { containerRuntimeVersion: '', kubeletVersion: '', kubeProxyVersion: '', machineID: '' };
    const nodeInfo = { ...info, ...others, systemUUID: '' };
    await client.patch(nodes, { name }, { status: { nodeInfo } }, { subresource: 'status' });
  }

  async function valueOf(name: string): Promise<string | undefined> {
    try {
      const { spec } = await client.get(clusterClaims, { name });
      return (spec as { value: string }).value;
    } catch (error) {
      if (isApiError(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  const published = async (): Promise<string | undefined> => valueOf(kernelClaimName);

  it('publishes the kernels of the nodes, and follows upgrades, deleted nodes and changes by others', async () => {
    const first = await addNode('6.1.0-9');
    await addNode('5.14.0-284.el9+');
    await addNode('6.1.0-9');
    await expect.poll(published, eventually).toBe('5.14.0-284.el9+\n6.1.0-9');

    await bootNode(first, '6.1.0-10');
    await expect.poll(published, eventually).toBe('5.14.0-284.el9+\n6.1.0-10\n6.1.0-9');

    await client.patch(clusterClaims, { name: kernelClaimName }, { spec: { value: 'wrong' } });
    await expect.poll(published, eventually).toBe('5.14.0-284.el9+\n6.1.0-10\n6.1.0-9');
    await client.delete(clusterClaims, { name: kernelClaimName });
    await expect.poll(published, eventually).toBe('5.14.0-284.el9+\n6.1.0-10\n6.1.0-9');

    await client.delete(nodes, { name: names.pop() ?? '' });
    await expect.poll(published, eventually).toBe('5.14.0-284.el9+\n6.1.0-10');
  });

  it('uses more claims if one is too short, and deletes those that are no longer needed', async () => {
    const second = kernelClaimNames[1] ?? '';
    for (let index = 0; index < 18; index++) await addNode(long(index));
    await expect.poll(() => valueOf(second), eventually).toBe(long(17));
    expect(await valueOf(kernelClaimName)).toHaveLength(17 * 60 - 1);

    await client.delete(nodes, { name: names.shift() ?? '' });
    await expect.poll(() => valueOf(second), eventually).toBeUndefined();
    expect(await valueOf(kernelClaimName)).toHaveLength(17 * 60 - 1);
  });

  it('withdraws kernels that no node runs, even if the last one was deleted while it was down', async () => {
    await addNode('6.1.0-9');
    await expect.poll(published, eventually).toBe('6.1.0-9');
    await end();
    await client.delete(nodes, { name: names.pop() ?? '' });
    start();
    await expect.poll(published, eventually).toBeUndefined();
  });

  it('writes nothing while nothing changes', async () => {
    const name = await addNode('6.1.0-9');
    await expect.poll(published, eventually).toBe('6.1.0-9');
    await rest();
    const [written, reconciled] = [counting.writes.length, await reconciles(registry, controller)];
    await client.patch(nodes, { name }, { metadata: { labels: { seen: 'again' } } });
    const other = await addNode('6.1.0-9');
    await expect.poll(() => cache.get({ name: other })?.kernelRelease, eventually).toBe('6.1.0-9');
    await expect.poll(() => reconciles(registry, controller), eventually).toBeGreaterThan(reconciled);
    await rest();
    expect(counting.writes.slice(written)).toEqual([]);

    await addNode('6.1.0-10');
    await expect.poll(published, eventually).toBe('6.1.0-10\n6.1.0-9');
    await rest();
    expect(counting.writes.slice(written)).toHaveLength(1);
  });

  /** Waits until the publisher has processed all events. */
  function rest(): Promise<void> {
    return vi.waitFor(async () => {
      for (const metric of ['workqueue_depth', 'controller_runtime_active_workers']) {
        const { values = [] } = (await registry.getSingleMetric(metric)?.get()) ?? {};
        expect(values.map(({ value }) => value)).toEqual([0]);
      }
    }, eventually);
  }
});
