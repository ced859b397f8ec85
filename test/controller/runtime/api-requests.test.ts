import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { listAll } from '../../../src/controller/runtime/api/list.ts';
import { Controller } from '../../../src/controller/runtime/controller.ts';
import { LeaderElection } from '../../../src/controller/runtime/leader/leader-election.ts';
import { describeWith } from '../../support/programs.ts';
import { configMap, configMaps } from './config-maps.ts';
import { answerJson, startFaultyServer, type FaultyServer } from './faulty-server.ts';

const key = { namespace: 'default', name: 'one' };
const object = { ...configMap('one', 'a'), apiVersion: 'v1', kind: 'ConfigMap' };
const tooMany = { kind: 'Status', code: 429, reason: 'TooManyRequests' };
const waiting = { timeout: 30_000, interval: 5 };

describeWith(['openssl'], 'requests to an API server', () => {
  let server: FaultyServer;
  beforeEach(async () => {
    server = await startFaultyServer();
  });
  afterEach(() => server[Symbol.asyncDispose]());

  it.each([
    ['create', () => server.client().create(configMaps, object)],
    ['replace', () => server.client().replace(configMaps, object)],
    ['apply', () => server.client().apply(configMaps, object)],
    ['patch', () => server.client().patch(configMaps, key, {})],
    ['delete', () => server.client().delete(configMaps, key)],
  ])(
    'to %s are sent only once if the kept-alive connection breaks before the response',
    async (_name, write) => {
      let breaks = 0;
      server.answer = (request, response) => {
        if (request.method === 'GET') return answerJson(response, object);
        breaks += 1;
        request.socket.destroy();
      };
      await server.client().get(configMaps, key);
      await expect(write()).rejects.toMatchObject({ code: 'NETWORK' });
      expect([breaks, server.requests.length]).toEqual([1, 2]);
    },
  );

  it('that only read are retried if the kept-alive connection breaks', async () => {
    let reads = 0;
    server.answer = (request, response) => {
      reads += 1;
      if (reads === 2) request.socket.destroy();
      else answerJson(response, object);
    };
    const client = server.client();
    await client.get(configMaps, key);
    expect(await client.get(configMaps, key)).toMatchObject({ data: { value: 'a' } });
    expect(reads).toBe(3);
  });

  it('all wait as long as the server requests with 429 and Retry-After', async () => {
    let opensAt: number | undefined;
    let refused = 0;
    server.answer = (_request, response) => {
      opensAt ??= performance.now() + 950;
      if (performance.now() >= opensAt) return answerJson(response, object);
      refused += 1;
      return answerJson(response, tooMany, 429, { 'retry-after': '1' });
    };
    const client = server.client();
    const stop = new AbortController();
    let done = 0;
    const controller = new Controller({
      name: 'test',
      maxConcurrent: 8,
      reconcile: async (name) => {
        await client.get(configMaps, { namespace: 'default', ...name });
        done += 1;
        if (done === 50) stop.abort();
        return {};
      },
    });
    for (let index = 0; index < 50; index += 1) controller.enqueue({ name: `m${index}` });
    await controller.run({ signal: stop.signal });
    // Those that were under way when the first answer came, and no more.
    expect(refused).toBeLessThanOrEqual(8);
    expect(server.requests).toHaveLength(50 + refused);
  });

  it('fail if the server keeps rejecting them, or sends no Retry-After', async () => {
    server.answer = (_request, response) => answerJson(response, tooMany, 429, { 'retry-after': '0' });
    await expect(server.client().get(configMaps, key)).rejects.toMatchObject({ code: 'TOO_MANY_REQUESTS' });
    expect(server.requests).toHaveLength(10);
    server.answer = (_request, response) => answerJson(response, tooMany, 429);
    await expect(server.client().get(configMaps, key)).rejects.toMatchObject({ code: 'TOO_MANY_REQUESTS' });
    expect(server.requests).toHaveLength(11);
  });

  it('stop waiting when their signal is aborted', async () => {
    server.answer = (_request, response) => answerJson(response, tooMany, 429, { 'retry-after': '3600' });
    const client = server.client();
    const stop = new AbortController();
    const paused = client.get(configMaps, key, { signal: stop.signal });
    await vi.waitFor(() => expect(server.requests).toHaveLength(1), waiting);
    stop.abort(new Error('enough'));
    await expect(paused).rejects.toThrow('enough');
    expect(server.requests).toHaveLength(1);
  });

  it('are limited in their rate, except those for leases', async () => {
    server.answer = (_request, response) => answerJson(response, object);
    // After the first three, one in a quarter of an hour.
    const client = server.client({ rate: { perSecond: 0.001, burst: 3 } });
    const stop = new AbortController();
    const all = Array.from({ length: 6 }, () => client.get(configMaps, key, { signal: stop.signal }));
    await Promise.all(all.slice(0, 3));
    await client.get(configMaps, { ...key, name: 'lease' }, { urgent: true });
    expect(server.requests).toHaveLength(4);
    expect(server.requests.at(-1)).toContain('/lease');
    stop.abort(new Error('enough'));
    for (const result of await Promise.allSettled(all.slice(3))) expect(result.status).toBe('rejected');
    expect(server.requests).toHaveLength(4);
  });

  it('for leases are sent while all others wait', async () => {
    server.answer = (request, response) => {
      if (!request.url?.includes('/leases')) {
        return answerJson(response, tooMany, 429, { 'retry-after': '3600' });
      }
      if (request.method === 'GET') return answerJson(response, { kind: 'Status', code: 404 }, 404);
      return answerJson(response, {
        metadata: { namespace: 'default', name: 'lease', resourceVersion: '1' },
        spec: { holderIdentity: 'me' },
      });
    };
    const client = server.client();
    const stop = new AbortController();
    const paused = client.get(configMaps, key, { signal: stop.signal });
    await vi.waitFor(() => expect(server.requests).toHaveLength(1), waiting);
    const election = new LeaderElection({
      client,
      lease: { namespace: 'default', name: 'lease' },
      identity: 'me',
    });
    let hasLed = false;
    await election.run(async () => {
      hasLed = election.isLeader;
    }, stop.signal);
    expect(hasLed).toBe(true);
    stop.abort();
    await expect(paused).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('for lists request half as many objects after a response that is too large, and continue where they were', async () => {
    const names = Array.from({ length: 75 }, (_, index) => `c${index}`);
    const pad = 'x'.repeat(1024 * 1024);
    const limits: number[] = [];
    server.answer = (request, response) => {
      const query = new URL(request.url ?? '', 'https://server').searchParams;
      const [from, limit] = [Number(query.get('continue') ?? 0), Number(query.get('limit'))];
      limits.push(limit);
      const next = from + limit < names.length ? String(from + limit) : '';
      const items = names
        .slice(from, from + limit)
        .map((name) => `{"metadata":{"name":"${name}"},"data":{"value":"${pad}"}}`);
      response.end(`{"metadata":{"continue":"${next}"},"items":[${items.join(',')}]}`);
    };
    const found = await listAll(server.client(), configMaps, { pageSize: 72 });
    expect(found.map(({ metadata }) => metadata.name)).toEqual(names);
    expect(limits).toEqual([72, 36, 36, 36]);
  });

  it('for lists fail if a single object is too large', async () => {
    const page = Buffer.alloc(65 * 1024 * 1024, ' ');
    server.answer = (_request, response) => response.end(page);
    await expect(listAll(server.client(), configMaps, { pageSize: 3 })).rejects.toMatchObject({
      code: 'TOO_LARGE',
    });
    expect(server.requests.map((request) => /limit=(\d+)/.exec(request)?.[1])).toEqual(['3', '1']);
  });
});
