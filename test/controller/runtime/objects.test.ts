import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { findByName, listAll } from '../../../src/controller/runtime/api/list.ts';
import { EventRecorder, events } from '../../../src/controller/runtime/event-recorder.ts';
import { addFinalizer, isBeingDeleted, removeFinalizer } from '../../../src/controller/runtime/finalizers.ts';
import type { KubernetesObject } from '../../../src/controller/runtime/api/object-key.ts';
import { startOperatorServer } from '../../../src/controller/runtime/operator-server.ts';
import { pathOf, type Resource } from '../../../src/controller/runtime/api/resource.ts';
import { startApiServer, apiServerPrograms, type ApiServer } from '../../support/api-server.ts';
import { definitions, type Definition } from '../../support/custom-resources.ts';
import { describeWith } from '../../support/programs.ts';
import { configMap, configMaps } from './config-maps.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));

interface Module extends KubernetesObject {
  readonly spec: { readonly moduleLoader: { readonly container: Record<string, unknown> } };
}

const modules: Resource<Module> = {
  group: 'kmm.sigs.x-k8s.io',
  version: 'v1beta1',
  plural: 'modules',
  kind: 'Module',
  namespaced: true,
};

function readObjects<T>(file: string): T[] {
  return parseAllDocuments(readFileSync(join(root, file), 'utf8')).map((document) => document.toJS() as T);
}

describeWith(apiServerPrograms, 'a real API server', () => {
  let api: ApiServer;
  let client: ApiClient;
  beforeAll(async () => {
    api = await startApiServer();
    client = await api.client();
  });
  afterAll(() => api[Symbol.asyncDispose]());

  it('answers by name as it has the object now, or that there is none', async () => {
    const { metadata } = await client.create(configMaps, configMap('by-name', '0'));
    await client.create(configMaps, configMap('by-name-too', '0'));
    expect(await findByName(client, configMaps, metadata)).toMatchObject({ data: { value: '0' } });
    for (const value of ['1', '2', '3', '4', '5']) {
      await client.patch(configMaps, metadata, { data: { value } });
      expect(await findByName(client, configMaps, metadata)).toMatchObject({ data: { value } });
    }
    await client.delete(configMaps, metadata);
    expect(await findByName(client, configMaps, metadata)).toBeUndefined();
  });

  it('reports missing objects and forbidden requests', async () => {
    await expect(client.get(configMaps, { namespace: 'default', name: 'none' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await client.create(configMaps, configMap('once', 'a'));
    await expect(client.create(configMaps, configMap('once', 'a'))).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
    });
    await expect(client.create(configMaps, configMap('Not A Name', 'a'))).rejects.toMatchObject({
      code: 'INVALID',
    });
  });

  it('assigns a field to one manager: another one gets a conflict unless it forces', async () => {
    const other = await api.client(undefined, 'other');
    await client.apply(configMaps, configMap('shared', 'ours'));
    await expect(other.apply(configMaps, configMap('shared', 'theirs'))).rejects.toMatchObject({
      code: 'CONFLICT',
    });
    const taken = await other.apply(configMaps, configMap('shared', 'theirs'), { force: true });
    expect(taken.data).toEqual({ value: 'theirs' });
    await expect(client.apply(configMaps, configMap('shared', 'ours'))).rejects.toMatchObject({
      code: 'CONFLICT',
    });
  });

  it('replaces an object only if it is unchanged', async () => {
    const object = await client.create(configMaps, configMap('replaced', 'a'));
    await client.replace(configMaps, { ...object, data: { value: 'b' } });
    await expect(client.replace(configMaps, { ...object, data: { value: 'c' } })).rejects.toMatchObject({
      code: 'CONFLICT',
    });
  });

  it('keeps an object until its finalizer is removed', async () => {
    const finalizer = 'kmm.sigs.x-k8s.io/test';
    const key = { namespace: 'default', name: 'finalized' };
    const created = await client.create(configMaps, configMap('finalized', 'a'));
    const held = await addFinalizer(client, configMaps, created, finalizer);
    expect(await addFinalizer(client, configMaps, held, finalizer)).toBe(held);
    await expect(addFinalizer(client, configMaps, created, finalizer)).rejects.toMatchObject({
      code: 'CONFLICT',
    });
    await client.delete(configMaps, key);
    const deleted = await client.get(configMaps, key);
    expect([isBeingDeleted(held), isBeingDeleted(deleted)]).toEqual([false, true]);
    await removeFinalizer(client, configMaps, deleted, finalizer);
    await expect(client.get(configMaps, key)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('has one Event with a count for repeated records', async () => {
    const object = await client.create(configMaps, configMap('eventful', 'a'));
    const recorder = new EventRecorder(client, 'kmm.sigs.x-k8s.io/test', 'test-0');
    const event = { resource: configMaps, object, type: 'Normal', action: 'Building' } as const;
    for (let times = 0; times < 3; times += 1) {
      recorder.record({ ...event, reason: 'BuildStarted', note: 'The build has started.' });
    }
    recorder.record({ ...event, reason: 'BuildEnded', note: 'x'.repeat(2000) });
    await recorder.flush();
    const found = await listAll(client, events, { namespace: 'default' });
    const ours = found.filter(({ regarding }) => regarding['uid'] === object.metadata.uid);
    expect(
      Object.fromEntries(ours.map(({ reason, series, note }) => [reason, [series?.count, note.length]])),
    ).toEqual({ BuildStarted: [3, 'The build has started.'.length], BuildEnded: [undefined, 1024] });
    expect(ours).toHaveLength(2);
  });

  it('has no more than 25 new Events of each type about one object at once', async () => {
    const object = await client.create(configMaps, configMap('talkative', 'a'));
    const recorder = new EventRecorder(client, 'kmm.sigs.x-k8s.io/test', 'test-0');
    const event = { resource: configMaps, object, action: 'Building', reason: 'Built' } as const;
    for (let kernel = 0; kernel < 30; kernel += 1) {
      recorder.record({ ...event, type: 'Normal', note: `Kernel ${kernel} has its image.` });
    }
    recorder.record({ ...event, type: 'Warning', note: 'Another kernel has none.' });
    await recorder.flush();
    const found = await listAll(client, events, { namespace: 'default' });
    const ours = found.filter(({ regarding }) => regarding['uid'] === object.metadata.uid);
    const types = ours.map(({ type }) => type).toSorted();
    expect(types).toEqual([...Array.from({ length: 25 }, () => 'Normal'), 'Warning']);
  });

  it('accepts our CustomResourceDefinitions without an unknown field', async () => {
    const folder = 'deploy/chart/kmm-sign/crds';
    const files = readdirSync(join(root, folder));
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) {
      for (const definition of readObjects<Definition>(`${folder}/${file}`)) {
        // With strict validation, the client's default: an unknown field is an error.
        await client.apply(definitions, definition);
        await vi.waitFor(
          async () => {
            const { status } = await client.get(definitions, definition.metadata);
            const conditions = (status?.conditions ?? []).map(({ type, status: is }) => `${type}=${is}`);
            expect([file, ...conditions].toSorted()).toEqual(
              [file, 'Established=True', 'NamesAccepted=True'].toSorted(),
            );
          },
          { timeout: 30_000, interval: 50 },
        );
      }
    }
  });

  it('accepts the Module of the documentation, shows its columns, and rejects one that breaks a rule', async () => {
    const file = 'fixtures/documents/openshift-4.12/4.8-build-and-sign.yaml';
    const [example] = readObjects<Module>(file).filter(({ kind }) => kind === 'Module');
    if (example === undefined) throw new Error(`${file} has no Module`);
    await vi.waitFor(() => client.apply(modules, example), { timeout: 30_000, interval: 100 });
    const response = await fetchTable(client);
    expect(response).toEqual(['Name', 'Ready', 'Reason', 'Desired', 'Available', 'Age']);

    const { container } = example.spec.moduleLoader;
    const broken = {
      ...example,
      metadata: { ...example.metadata, name: 'broken' },
      spec: {
        ...example.spec,
        moduleLoader: {
          container: {
            ...container,
            kernelMappings: [{ literal: '6.1.0', regexp: '^.+$', containerImage: 'example.org/a:b' }],
          },
        },
      },
    };
    await expect(client.create(modules, broken)).rejects.toMatchObject({
      code: 'INVALID',
      message: expect.stringContaining('exactly one of literal and regexp must be set') as string,
    });
    const misspelt = { ...example, spec: { ...example.spec, modulLoader: {} } };
    await expect(client.apply(modules, misspelt)).rejects.toMatchObject({
      message: expect.stringContaining('modulLoader') as string,
    });
  });

  it('accepts the status that the operator writes', async () => {
    let isReady = false;
    const metrics = new Registry();
    await using server = await startOperatorServer({
      host: '127.0.0.1',
      port: 0,
      healthz: { ping: () => true },
      readyz: { caches: () => isReady, broken: () => isReady || Promise.reject(new Error('no')) },
      metrics,
    });
    const get = async (path: string) => {
      const answer = await fetch(`http://127.0.0.1:${server.port}${path}`);
      return [answer.status, await answer.text()];
    };
    expect(await get('/healthz')).toEqual([200, 'ok\n']);
    expect(await get('/readyz')).toEqual([500, '[-]caches\n[-]broken\n']);
    isReady = true;
    expect(await get('/readyz')).toEqual([200, 'ok\n']);
    expect(await get('/metrics')).toEqual([200, '\n']);
    expect((await get('/other'))[0]).toBe(404);
  });
});

const tableSchema = z.object({
  columnDefinitions: z.array(z.object({ name: z.string(), priority: z.number() })),
});

/** The columns that `kubectl get modules` shows: the API server's answer when it is asked for a table. */
async function fetchTable(client: ApiClient): Promise<string[]> {
  const table = await client.request({
    method: 'GET',
    path: pathOf(modules, { namespace: 'default' }),
    accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
  });
  const { columnDefinitions } = tableSchema.parse(table);
  return columnDefinitions.filter(({ priority }) => priority === 0).map(({ name }) => name);
}
