import { describe, expect, it } from 'vitest';
import { parseRetryAfter } from '../../src/shared/backoff.ts';

const now = Date.parse('2026-11-20T12:00:00Z');

describe('Retry-After', () => {
  it.each([
    ['7', 7000],
    ['Fri, 20 Nov 2026 12:00:30 GMT', 30_000],
    ['Fri, 20 Nov 2026 11:00:00 GMT', 0],
    ['880us', null],
    ['-1', null],
    ['', null],
    [undefined, null],
  ])('of %j is %j milliseconds', (header, milliseconds) => {
    expect(parseRetryAfter(header, now)).toBe(milliseconds);
  });
});
