import { describe, expect, it } from 'vitest';
import { Shares, type Share } from '../../../../src/controller/observe/images/shares.ts';

const limits = { total: 4, perRegistry: 3, perNamespace: 2, maxWaiting: 3 };

/** Work that ends when it is told to. What has begun stands in `begun`, in order. */
class Bench {
  readonly begun: string[] = [];
  readonly #shares: Shares;
  readonly #ends = new Map<string, () => void>();

  constructor(given = limits) {
    this.#shares = new Shares(given);
  }

  async start(name: string, share: Share, signal = new AbortController().signal): Promise<string> {
    return this.#work(name, await this.#shares.take(share, signal));
  }

  async #work(name: string, giveBack: () => void): Promise<string> {
    this.begun.push(name);
    const end = Promise.withResolvers<void>();
    this.#ends.set(name, end.resolve);
    await end.promise;
    giveBack();
    return name;
  }

  end(name: string): void {
    const end = this.#ends.get(name);
    if (end === undefined) throw new Error(`${name} has not begun`);
    end();
  }
}

const at = (registry: string, namespace: string): Share => ({ registry, namespace });

/** Lets everything happen that needs no outside. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('shares', () => {
  it('leave room for other namespaces and other registries', async () => {
    const bench = new Bench();
    for (const name of ['a1', 'a2', 'a3']) void bench.start(name, at('slow', 'a'));
    void bench.start('b1', at('slow', 'b'));
    void bench.start('c1', at('slow', 'c'));
    void bench.start('c2', at('quick', 'c'));
    await settle();
    // a3: its namespace has two; c1: its registry has three.
    expect(bench.begun).toEqual(['a1', 'a2', 'b1', 'c2']);
  });

  it('without a namespace are limited only by the registry', async () => {
    const bench = new Bench({ ...limits, perNamespace: 1 });
    for (const name of ['1', '2', '3', '4'])
      void bench.start(name, { registry: 'slow', namespace: undefined });
    await settle();
    expect(bench.begun).toEqual(['1', '2', '3']);
  });

  it('are limited in total', async () => {
    const bench = new Bench();
    for (const name of ['1', '2', '3', '4', '5']) void bench.start(name, at(`r${name}`, `n${name}`));
    await settle();
    expect(bench.begun).toEqual(['1', '2', '3', '4']);
    bench.end('2');
    await settle();
    expect(bench.begun).toEqual(['1', '2', '3', '4', '5']);
  });

  it('go to namespaces in turn, however many of one wait, and within one in order', async () => {
    const bench = new Bench({ total: 1, perRegistry: 1, perNamespace: 1, maxWaiting: 3 });
    const all = [
      ['first', 'a'],
      ['a1', 'a'],
      ['a2', 'a'],
      ['a3', 'a'],
      ['b1', 'b'],
      ['b2', 'b'],
      ['c1', 'c'],
    ] as const;
    for (const [name, namespace] of all) void bench.start(name, at('r', namespace));
    for (let ended = 0; ended < all.length; ended += 1) {
      await settle();
      expect(bench.begun).toHaveLength(ended + 1);
      bench.end(bench.begun[ended] ?? '');
    }
    expect(bench.begun).toEqual(['first', 'a1', 'b1', 'c1', 'a2', 'b2', 'a3']);
  });

  it('are refused if too many of a namespace wait; others may still wait', async () => {
    const bench = new Bench({ total: 1, perRegistry: 1, perNamespace: 1, maxWaiting: 2 });
    for (const name of ['a1', 'a2', 'a3']) void bench.start(name, at('r', 'a'));
    await expect(bench.start('a4', at('r', 'a'))).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      facts: { namespace: 'a', limit: 2 },
    });
    const other = bench.start('b1', at('r', 'b'));
    await settle();
    bench.end('a1');
    await settle();
    bench.end('a2');
    await settle();
    bench.end('b1');
    expect(await other).toBe('b1');
  });

  it('are not assigned to callers that have left', async () => {
    const bench = new Bench({ ...limits, total: 1 });
    void bench.start('first', at('r', 'a'));
    const impatient = new AbortController();
    const left = bench.start('left', at('r', 'a'), impatient.signal);
    const next = bench.start('next', at('r', 'a'));
    await settle();
    impatient.abort(new Error('left'));
    await expect(left).rejects.toThrow('left');
    bench.end('first');
    await settle();
    bench.end('next');
    expect([await next, bench.begun]).toEqual(['next', ['first', 'next']]);
    await expect(bench.start('late', at('r', 'a'), impatient.signal)).rejects.toThrow('left');
  });
});
