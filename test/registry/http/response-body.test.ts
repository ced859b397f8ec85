import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ResponseBody } from '../../../src/registry/http/response-body.ts';
import { connect, rejection, startServer } from './local-server.ts';

const idleTimeout = 1000;
const KiB = 1024;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A response whose server sends when told to. */
function open(): { source: Readable; body: ResponseBody; error: () => unknown } {
  const source = new Readable({ read() {} });
  let seen: unknown;
  const body = new ResponseBody(source, (error) => Object.assign(new Error('x'), error), idleTimeout);
  body.on('error', (error) => {
    seen = error;
  });
  return { source, body, error: () => seen };
}

/** Lets streams hand on what they have. */
const flow = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

it('a body is given up when nothing comes for as long as the idle time, counted from the last byte', async () => {
  const { source, body, error } = open();
  body.read();
  vi.advanceTimersByTime(600);
  source.push(Buffer.alloc(10));
  await flow();
  vi.advanceTimersByTime(999);
  await flow();
  expect(error()).toBeUndefined();
  vi.advanceTimersByTime(1);
  await flow();
  expect(error()).toMatchObject({ code: 'ETIMEDOUT' });
});

it('a body does not time out while its reader is slow, and is watched again once the reader continues', async () => {
  const { source, body, error } = open();
  source.push(Buffer.alloc(300 * KiB));
  await flow();
  vi.advanceTimersByTime(10 * idleTimeout);
  await flow();
  expect(error()).toBeUndefined();
  while (body.read() !== null);
  vi.advanceTimersByTime(999);
  await flow();
  expect(error()).toBeUndefined();
  vi.advanceTimersByTime(1);
  await flow();
  expect(error()).toMatchObject({ code: 'ETIMEDOUT' });
});

it('a connection whose body waits for its reader outlives one that is silent', async () => {
  vi.useRealTimers();
  const bytes = 32 * KiB * KiB;
  await using server = await startServer((request, response) => {
    if (request.url?.endsWith('/silent') !== true) response.end(Buffer.alloc(bytes));
  });
  await using client = connect(server.host, { plainHttp: true, retries: 0, idleTimeout: 300 });
  const { body } = await client.transport({ method: 'GET', url: client.url('big') });
  // Each takes as long as the idle time.
  for (let turn = 0; turn < 2; turn += 1) {
    const silent = client.transport({ method: 'GET', url: client.url('silent') });
    expect(await rejection(silent)).toMatchObject({ facts: { reason: 'ETIMEDOUT' } });
  }
  let read = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) read += chunk.length;
  expect(read).toBe(bytes);
});
