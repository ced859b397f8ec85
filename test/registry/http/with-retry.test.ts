import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { retryDelay } from '../../../src/registry/http/with-retry.ts';

describe('retryDelay', () => {
  const usual = { base: 500, retryAfter: null, maxRetryAfter: 60_000, random: 0.5 };

  it('doubles, up to half a minute', () => {
    expect([1, 2, 3, 4, 20].map((attempt) => retryDelay({ ...usual, attempt }))).toEqual([
      500, 1000, 2000, 4000, 30_000,
    ]);
  });

  it('is never shorter than the server requests, and stops retrying when that is too long', () => {
    expect(retryDelay({ ...usual, attempt: 1, retryAfter: 5000 })).toBe(5000);
    expect(retryDelay({ ...usual, attempt: 1, retryAfter: 60_001 })).toBeNull();
  });

  it('differs by a quarter at most between clients', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 0.999, noNaN: true }), (random) => {
        const delay = retryDelay({ ...usual, attempt: 3, random }) ?? -1;
        expect(delay).toBeGreaterThanOrEqual(1500);
        expect(delay).toBeLessThanOrEqual(2500);
      }),
    );
  });
});
