import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import {
  nodes,
  pods,
  type DaemonSet,
  type FromServer,
} from '../../../src/controller/observe/cluster/resources.ts';
import { apiServerPrograms } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { createNode } from './cluster-objects.ts';
import { startModuleWorld, type ModuleWorld } from './module-world.ts';

const kernel = '6.1.0-13-amd64';
const earlierPods = 'kmm.sigs.x-k8s.io/earlier-pods';

describeWith(apiServerPrograms, 'a DaemonSet that replaces a deleted one of its name', () => {
  let world: ModuleWorld;
  beforeAll(async () => {
    world = await startModuleWorld();
    await world.startController();
  });
  afterAll(() => world[Symbol.asyncDispose]());

  async function createPodOf({ metadata, spec }: FromServer<DaemonSet>, pod: string): Promise<void> {
    const owner = { apiVersion: 'apps/v1', kind: 'DaemonSet', controller: true } as const;
    await world.client.create(pods, {
      metadata: {
        namespace: metadata.namespace,
        name: pod,
        labels: spec?.template.metadata?.labels,
        ownerReferences: [{ ...owner, name: metadata.name, uid: metadata.uid ?? '' }],
      },
      spec: { containers: [{ name: 'main', image: 'registry.example/main:1' }] },
    });
  }

  it('is written whenever a pod that the deleted one has left ends, so that Kubernetes looks at it again', async () => {
    const name = 'replaced';
    await world.namespaceWithNode(name, kernel);
    await world.push(world.image(`${name}:${kernel}`));
    await world.apply(name, world.spec(name, {}));
    const only = async (): Promise<FromServer<DaemonSet>> => {
      const [daemonSet] = await world.daemonSets(name);
      if (daemonSet === undefined) throw new Error('there is no DaemonSet');
      return daemonSet;
    };
    const deleted = await vi.waitFor(only, 20_000);
    expect(deleted.metadata.annotations).not.toHaveProperty([earlierPods]);
    await createPodOf(deleted, 'one');
    await createPodOf(deleted, 'two');

    await world.client.delete(nodes, { name });
    await vi.waitFor(async () => expect(await world.daemonSets(name)).toEqual([]), 20_000);
    await createNode(world.client, { name, kernel, labels: { for: name } });
    const untilCount = (count: string | undefined): Promise<void> =>
      vi.waitFor(async () => {
        expect((await only()).metadata.annotations?.[earlierPods]).toBe(count);
      }, 20_000);
    await untilCount('2');
    const { metadata } = await only();
    expect(metadata.name).toBe(deleted.metadata.name);
    expect(metadata.uid).not.toBe(deleted.metadata.uid);
    await createPodOf(await only(), 'its-own');
    await world.client.delete(pods, { namespace: name, name: 'one' });
    await untilCount('1');
    await world.client.delete(pods, { namespace: name, name: 'two' });
    await untilCount(undefined);
    expect((await only()).metadata).toMatchObject({ uid: metadata.uid, generation: 1 });
  });
});
