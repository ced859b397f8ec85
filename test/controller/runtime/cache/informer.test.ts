import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { ApiClient } from '../../../../src/controller/runtime/api/client.ts';
import { listAll } from '../../../../src/controller/runtime/api/list.ts';
import { watch } from '../../../../src/controller/runtime/api/watch.ts';
import { Informer } from '../../../../src/controller/runtime/cache/informer.ts';
import { startApiServer, apiServerPrograms, type ApiServer } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import { configMap, configMaps, type ConfigMap } from '../config-maps.ts';
import { startRelay } from '../relay.ts';

const waiting = { timeout: 40_000, interval: 20 };

function follow(namespace: string, through: ApiClient, options: { watchSeconds?: number } = {}) {
  const stop = new AbortController();
  const seen: string[] = [];
  const informer = new Informer<ConfigMap, string>({
    client: through,
    resource: configMaps,
    project: ({ data }) => data?.['value'] ?? '',
    selection: { namespace },
    indexes: { value: (value) => [value] },
    backoff: { first: 200, limit: 400 },
    ...options,
  });
  informer.onEvent(({ type, key }) => seen.push(`${type} ${key.name}`));
  const done = informer.run(stop.signal);
  return { informer, seen, signal: stop.signal, end: () => (stop.abort(), done) };
}

describeWith(apiServerPrograms, 'the cache', () => {
  let api: ApiServer;
  let client: ApiClient;
  beforeAll(async () => {
    api = await startApiServer();
    client = await api.client();
  });
  afterAll(() => api[Symbol.asyncDispose]());

  async function inNamespace(name: string): Promise<string> {
    const namespaces = {
      group: '',
      version: 'v1',
      plural: 'namespaces',
      kind: 'Namespace',
      namespaced: false,
    };
    await client.create(namespaces, { metadata: { name } });
    return name;
  }

  it('sees existing, added, changed and deleted objects, and stores their projections', async () => {
    const namespace = await inNamespace('changes');
    await client.create(configMaps, configMap('first', 'a', namespace));
    const { informer, seen, signal, end } = follow(namespace, client);
    expect(informer.hasSynced).toBe(false);
    await informer.waitForSync(signal);
    expect(informer.list()).toEqual(['a']);
    await client.create(configMaps, configMap('second', 'b', namespace));
    await client.apply(configMaps, configMap('first', 'b', namespace), { force: true });
    await vi.waitFor(() => expect(informer.byIndex('value', 'b')).toEqual(['b', 'b']), waiting);
    await client.delete(configMaps, { namespace, name: 'first' });
    await vi.waitFor(() => expect(informer.byIndex('value', 'b')).toEqual(['b']), waiting);
    expect(informer.byIndex('value', 'a')).toEqual([]);
    expect(seen).toEqual(['added first', 'added second', 'updated first', 'deleted first']);
    await end();
  });

  it('resumes watches that the API server ends, without relisting', async () => {
    const namespace = await inNamespace('time-outs');
    const requests: string[] = [];
    const open = client.open.bind(client);
    const spied: ApiClient = Object.create(client, {
      open: {
        value: (request: Parameters<ApiClient['open']>[0]) => {
          requests.push(request.query?.['watch'] === true ? 'watch' : 'list');
          return open(request);
        },
      },
      request: {
        value: (request: Parameters<ApiClient['request']>[0]) => {
          requests.push('list');
          return client.request(request);
        },
      },
    }) as ApiClient;
    const { informer, seen, signal, end } = follow(namespace, spied, { watchSeconds: 1 });
    await informer.waitForSync(signal);
    for (const name of ['one', 'two', 'three']) {
      const watches = requests.length;
      await vi.waitFor(() => expect(requests.length).toBeGreaterThan(watches), waiting);
      await client.create(configMaps, configMap(name, name, namespace));
      await vi.waitFor(() => expect(seen).toContain(`added ${name}`), waiting);
    }
    expect(seen).toEqual(['added one', 'added two', 'added three']);
    expect(requests.filter((request) => request === 'list')).toHaveLength(1);
    await end();
  });

  it('catches up after the API server was killed and its history compacted', async () => {
    const namespace = await inNamespace('restart');
    await using relay = await startRelay(api.port);
    for (const name of ['stays', 'changes', 'goes'])
      await client.create(configMaps, configMap(name, 'old', namespace));
    const { informer, seen, signal, end } = follow(namespace, await api.client(relay.port));
    await informer.waitForSync(signal);
    seen.length = 0;

    const connections = relay.connections;
    relay.breakDown();
    await client.delete(configMaps, { namespace, name: 'goes' });
    await client.apply(configMaps, configMap('changes', 'new', namespace), { force: true });
    await client.create(configMaps, configMap('comes', 'new', namespace));
    await api.kill();
    await api.compact();
    await api.start();
    await vi.waitFor(() => expect(relay.connections).toBeGreaterThan(connections), waiting);
    relay.heal();

    await vi.waitFor(() => expect(seen).toHaveLength(3), waiting);
    expect(seen.toSorted()).toEqual(['added comes', 'deleted goes', 'updated changes']);
    expect(informer.get({ namespace, name: 'changes' })).toBe('new');
    await client.create(configMaps, configMap('later', 'new', namespace));
    await vi.waitFor(() => expect(seen).toContain('added later'), waiting);
    await end();
  });

  it('ends a watch that receives nothing for too long', async () => {
    const namespace = await inNamespace('silence');
    const { metadata } = await client.create(configMaps, configMap('first', 'a', namespace));
    const silent = watch(client, configMaps, {
      namespace,
      resourceVersion: metadata.resourceVersion ?? '',
      timeoutSeconds: 60,
      idleTimeout: 300,
      signal: new AbortController().signal,
    });
    await expect(silent.next()).rejects.toMatchObject({ code: 'TIMEOUT' });
  });

  it('receives GONE if a watch starts before the remaining history', async () => {
    const namespace = await inNamespace('gone');
    const { metadata } = await client.create(configMaps, configMap('first', 'a', namespace));
    await client.apply(configMaps, configMap('first', 'b', namespace), { force: true });
    await client.create(configMaps, configMap('second', 'a', namespace));
    await api.kill();
    await api.compact();
    await api.start();
    const old = watch(client, configMaps, {
      namespace,
      resourceVersion: metadata.resourceVersion ?? '',
      timeoutSeconds: 10,
      idleTimeout: 30_000,
      signal: new AbortController().signal,
    });
    await expect(old.next()).rejects.toMatchObject({ code: 'GONE' });
  });

  it('lists page by page', async () => {
    const namespace = await inNamespace('pages');
    const names = ['a', 'b', 'c', 'd', 'e'];
    for (const name of names) await client.create(configMaps, configMap(name, name, namespace));
    const objects = await listAll(client, configMaps, { namespace, pageSize: 2 });
    expect(objects.map(({ metadata }) => metadata.name)).toEqual(names);
  });
});
