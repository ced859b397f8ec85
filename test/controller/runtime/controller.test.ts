import { once } from 'node:events';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { Controller } from '../../../src/controller/runtime/controller.ts';
import { TerminalError } from '../../../src/controller/runtime/api/errors.ts';
import { createRuntimeMetrics } from '../../../src/controller/runtime/metrics.ts';
import type { ObjectKey } from '../../../src/controller/runtime/api/object-key.ts';
import { silentLogger } from '../../../src/shared/logger.ts';

const backoff = { first: 1, limit: 4 };

/** Counts calls, and stops the controller at the last. */
function counted(last: number, stop: AbortController): () => number {
  let calls = 0;
  return () => {
    calls += 1;
    if (calls === last) stop.abort();
    return calls;
  };
}

describe('a controller', () => {
  it('reconciles again after an error and after requeueAfter', async () => {
    const stop = new AbortController();
    const count = counted(4, stop);
    const controller = new Controller({
      name: 'test',
      backoff,
      reconcile: async () => {
        const call = count();
        if (call < 3) throw new Error('not yet');
        return call === 3 ? { requeueAfter: 1 } : {};
      },
    });
    controller.enqueue({ name: 'one' });
    await controller.run({ signal: stop.signal });
    expect(count()).toBe(5);
  });

  it('resets the back-off after a success', async () => {
    const stop = new AbortController();
    const waits: number[] = [];
    let calls = 0;
    const controller = new Controller({
      name: 'test',
      // Only the first wait is bearable: a failure that is not forgotten would be waited for an hour.
      backoff: { first: 1, limit: 3_600_000 },
      reconcile: async () => {
        calls += 1;
        if (calls > 60) stop.abort();
        if (calls % 2 === 1) throw new Error('every other time');
        waits.push(calls);
        return { requeueAfter: 1 };
      },
    });
    controller.enqueue({ name: 'one' });
    await controller.run({ signal: stop.signal });
    expect(waits).toHaveLength(30);
  });

  it('limits the workers per namespace', async () => {
    const stop = new AbortController();
    const hung = Promise.withResolvers<void>();
    const seen: string[] = [];
    const controller = new Controller({
      name: 'test',
      maxConcurrent: 3,
      maxPerNamespace: 2,
      reconcile: async ({ namespace, name }) => {
        seen.push(`${namespace}/${name}`);
        if (namespace === 'slow') await hung.promise;
        if (name === 'last') {
          stop.abort();
          hung.resolve();
        }
        return {};
      },
    });
    for (const name of ['1', '2', '3', '4']) controller.enqueue({ namespace: 'slow', name });
    for (const name of ['1', '2', 'last']) controller.enqueue({ namespace: 'quick', name });
    await controller.run({ signal: stop.signal });
    expect(seen).toEqual(['slow/1', 'quick/1', 'slow/2', 'quick/2', 'quick/last']);
  });

  it('aborts work that outlasts the grace period, and does not count it as a failure', async () => {
    const stop = new AbortController();
    const registry = new Registry();
    const reasons: unknown[] = [];
    const logged: string[] = [];
    const controller = new Controller({
      name: 'test',
      metrics: createRuntimeMetrics(registry).controller('test', 1),
      log: { ...silentLogger, error: (message) => logged.push(message) },
      reconcile: async (_key, { signal }) => {
        stop.abort();
        reasons.push(signal.aborted);
        // Nothing but the abortion ends it.
        await once(signal, 'abort');
        reasons.push(signal.reason);
        throw signal.reason;
      },
    });
    controller.enqueue({ name: 'one' });
    await controller.run({ signal: stop.signal, gracePeriod: 1 });
    expect(reasons).toMatchObject([false, { name: 'AbortError' }]);
    expect(logged).toEqual([]);
    expect(await registry.metrics()).toContain('workqueue_retries_total{name="test",controller="test"} 0');
  });

  it('does not retry after a TerminalError, and uses the metric names of controller-runtime', async () => {
    const registry = new Registry();
    const metrics = createRuntimeMetrics(registry).controller('test', 1);
    const stop = new AbortController();
    const seen: string[] = [];
    const controller = new Controller({
      name: 'test',
      backoff,
      metrics,
      reconcile: async ({ name }) => {
        seen.push(name);
        if (name === 'hopeless') throw new TerminalError('the name is wrong');
        if (seen.length === 2) throw new Error('once');
        if (seen.length === 3) stop.abort();
        return {};
      },
    });
    controller.enqueue({ name: 'hopeless' });
    controller.enqueue({ name: 'good' });
    await controller.run({ signal: stop.signal });
    expect(seen).toEqual(['hopeless', 'good', 'good']);
    const text = await registry.metrics();
    expect(text).toContain('controller_runtime_reconcile_total{controller="test",result="error"} 2');
    expect(text).toContain('controller_runtime_reconcile_total{controller="test",result="success"} 1');
    expect(text).toContain('controller_runtime_terminal_reconcile_errors_total{controller="test"} 1');
    expect(text).toContain('workqueue_retries_total{name="test",controller="test"} 1');
    expect(text).toContain('workqueue_depth{name="test",controller="test"} 0');
    expect(text).toContain('controller_runtime_active_workers{controller="test"} 0');
  });

  it('reconciles up to maxConcurrent keys concurrently, never the same one twice', async () => {
    const stop = new AbortController();
    const active = new Set<string>();
    const gates = new Map<string, PromiseWithResolvers<void>>();
    const started: string[] = [];
    let most = 0;
    const doubled: string[] = [];
    const reconcile = async ({ name }: ObjectKey) => {
      if (active.has(name)) doubled.push(name);
      active.add(name);
      most = Math.max(most, active.size);
      started.push(name);
      if (started.length === 2) for (const gate of gates.values()) gate.resolve();
      const gate = Promise.withResolvers<void>();
      gates.set(name, gate);
      if (started.length >= 2) gate.resolve();
      await gate.promise;
      active.delete(name);
      if (started.length === 4) stop.abort();
      return {};
    };
    const controller = new Controller({ name: 'test', maxConcurrent: 2, reconcile });
    for (const name of ['a', 'b', 'c', 'd', 'a']) controller.enqueue({ name });
    await controller.run({ signal: stop.signal });
    expect([most, started, doubled]).toEqual([2, ['a', 'b', 'c', 'd'], []]);
  });

  it('finishes work in progress when stopped, and aborts it when told to', async () => {
    for (const how of ['signal', 'abort'] as const) {
      const [stop, abort] = [new AbortController(), new AbortController()];
      const events: string[] = [];
      const controller = new Controller({
        name: 'test',
        reconcile: async (_key, { signal }) => {
          (how === 'signal' ? stop : abort).abort();
          events.push(`aborted: ${signal.aborted}`);
          await Promise.resolve();
          events.push('ended');
          return {};
        },
      });
      controller.enqueue({ name: 'one' });
      controller.enqueue({ name: 'two' });
      await controller.run({ signal: stop.signal, abort: abort.signal });
      expect(events).toEqual([`aborted: ${how === 'abort'}`, 'ended']);
    }
  });
});
