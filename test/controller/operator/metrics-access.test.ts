import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createMetricsAccess } from '../../../src/controller/operator/metrics-access.ts';
import { silentLogger } from '../../../src/shared/logger.ts';
import { describeWith } from '../../support/programs.ts';
import { answerJson, startFaultyServer, type FaultyServer } from '../runtime/faulty-server.ts';

describeWith(['openssl'], 'who may read metrics, while the API server does not answer', () => {
  let server: FaultyServer;
  beforeEach(async () => {
    server = await startFaultyServer();
  });
  afterEach(() => server[Symbol.asyncDispose]());

  it('is asked for no more than twenty tokens at a time; further readers are turned away', async () => {
    const held: (() => void)[] = [];
    server.answer = (_request, response) => {
      held.push(() => answerJson(response, { status: { authenticated: false } }));
    };
    const mayRead = createMetricsAccess(server.client(), silentLogger);
    const asked = Array.from({ length: 20 }, (_, index) => mayRead(`Bearer token-${index}`));
    await vi.waitFor(() => expect(held).toHaveLength(20), { timeout: 30_000, interval: 5 });
    expect(await mayRead('Bearer one-more')).toBe(401);
    expect(server.requests).toHaveLength(20);
    for (const answer of held.splice(0)) answer();
    expect(new Set(await Promise.all(asked))).toEqual(new Set([401]));
    // There is room again.
    const next = mayRead('Bearer one-more');
    await vi.waitFor(() => expect(held).toHaveLength(1), { timeout: 30_000, interval: 5 });
    for (const answer of held) answer();
    expect(await next).toBe(401);
    expect(server.requests).toHaveLength(21);
  });
});
