import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ImageAccess } from '../../../../src/controller/observe/images/clients.ts';
import {
  ImageRegistry,
  type ImageQuery,
  type ImageRegistryOptions,
} from '../../../../src/controller/observe/images/image-registry.ts';

const access: ImageAccess = { tls: { insecure: true }, pullSecrets: [] };
const waiting = { timeout: 30_000, interval: 5 };
const forever = 1e9;

/** A registry that begins to answer and never ends; no real one can be made to do so. */
class DrippingRegistry {
  /** Answers under way. */
  readonly open = new Set<ServerResponse>();
  requests = 0;
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      this.requests += 1;
      this.open.add(response);
      const drip = setInterval(() => response.write(' '), 20);
      response.once('close', () => {
        clearInterval(drip);
        this.open.delete(response);
      });
      response.writeHead(200, { 'content-type': 'application/vnd.oci.image.manifest.v1+json' });
      response.flushHeaders();
      request.resume();
    });
  }

  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (typeof address !== 'object' || address === null) throw new Error('no port was assigned');
    return `127.0.0.1:${address.port}`;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

describe('a registry whose responses never end', () => {
  let slow: DrippingRegistry;
  let slowHost: string;
  let quick: Server;
  let quickHost: string;
  let images: ImageRegistry;
  let outcomes: string[];

  beforeEach(async () => {
    slow = new DrippingRegistry();
    slowHost = await slow.start();
    quick = createServer((_request, response) => response.writeHead(404).end());
    quick.listen(0, '127.0.0.1');
    await once(quick, 'listening');
    const address = quick.address();
    quickHost = `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
    outcomes = [];
  });
  afterEach(async () => {
    await images.close();
    await slow.close();
    quick.closeAllConnections();
    quick.close();
  });

  function open(queries: ImageRegistryOptions['queries']): void {
    images = new ImageRegistry({
      userAgent: 'tests',
      queries,
      onCheck: (kind, _seconds, outcome) => outcomes.push(`${kind} ${outcome}`),
    });
  }

  const ask = (host: string, name: string, more: Pick<ImageQuery, 'namespace' | 'signal'> = {}) =>
    images.resolve({ image: `${host}/${name}:1.0`, access, ...more });

  it('delays neither other namespaces nor images of registries that respond', async () => {
    open({ deadline: forever });
    const stuck = Array.from({ length: 30 }, (_, index) =>
      ask(slowHost, `driver-${index}`, { namespace: `tenant-${index % 10}` }),
    );
    const settled = Promise.allSettled(stuck);
    await vi.waitFor(() => expect(slow.open.size).toBe(8), waiting);
    for (const namespace of ['tenant-0', 'another', undefined]) {
      expect(await ask(quickHost, `vendor/${namespace}`, { namespace })).toBeUndefined();
    }
    // All that while, the slow one had its share and no more.
    expect([slow.open.size, slow.requests]).toEqual([8, 8]);
    await images.close();
    for (const result of await settled) expect(result.status).toBe('rejected');
  });

  it('delays a namespace only within its share', async () => {
    open({ deadline: forever, perRegistry: 100 });
    const settled = Promise.allSettled(
      Array.from({ length: 10 }, (_, index) => ask(slowHost, `driver-${index}`, { namespace: 'greedy' })),
    );
    await vi.waitFor(() => expect(slow.open.size).toBe(4), waiting);
    expect(await ask(quickHost, 'driver', { namespace: 'modest' })).toBeUndefined();
    expect(slow.requests).toBe(4);
    await images.close();
    await settled;
  });

  it('times out after the deadline, with an error that names it and room for others', async () => {
    open({ deadline: 300, perNamespace: 1 });
    const share = { namespace: 'tenant' };
    const [one, two] = await Promise.allSettled([ask(slowHost, 'one', share), ask(slowHost, 'two', share)]);
    for (const result of [one, two]) {
      expect(result).toMatchObject({
        status: 'rejected',
        reason: { code: 'NETWORK', message: `The registry ${slowHost} did not respond within 1 seconds` },
      });
    }
    // The second one waited for its turn until its time was over.
    expect([slow.requests, outcomes]).toEqual([1, ['resolve NETWORK']]);
    await vi.waitFor(() => expect(slow.open.size).toBe(0), waiting);
    expect(await ask(quickHost, 'driver')).toBeUndefined();
  });

  it('times out after the deadline even if another caller joined later', async () => {
    open({ deadline: 400 });
    const first = ask(slowHost, 'driver');
    first.catch(() => {});
    await vi.waitFor(() => expect(slow.open.size).toBe(1), waiting);
    const later = Array.from({ length: 3 }, () => ask(slowHost, 'driver'));
    for (const result of await Promise.allSettled([first, ...later])) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'NETWORK' } });
    }
    expect([slow.requests, outcomes]).toEqual([1, ['resolve NETWORK']]);
  });

  it('is no longer queried when the last caller has left, and not before', async () => {
    open({ deadline: forever });
    const [one, two] = [new AbortController(), new AbortController()];
    const first = ask(slowHost, 'driver', { signal: one.signal });
    await vi.waitFor(() => expect(slow.open.size).toBe(1), waiting);
    const second = ask(slowHost, 'driver', { signal: two.signal });
    expect(await ask(quickHost, 'until-it-joined')).toBeUndefined();
    one.abort(new Error('one left'));
    await expect(first).rejects.toThrow('one left');
    expect(await ask(quickHost, 'meanwhile')).toBeUndefined();
    expect(slow.open.size).toBe(1);
    two.abort(new Error('two left'));
    await expect(second).rejects.toThrow('two left');
    await vi.waitFor(() => expect(slow.open.size).toBe(0), waiting);
    expect(slow.requests).toBe(1);
  });
});
