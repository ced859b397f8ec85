import { describe, expect, it } from 'vitest';
import { expiry } from '../../../src/registry/http/token.ts';

const now = Date.parse('2026-11-20T12:00:00Z');

describe('the life of a token', () => {
  it.each([
    ['counts from when it was issued', 300, '2026-11-20T11:59:00Z', 300 - 60],
    ['counts from now when it was issued in the future', 300, '2026-11-20T13:00:00Z', 300],
    ['counts from now when it seems to have ended', 300, '2026-11-20T10:00:00Z', 300],
    ['counts from now when nothing is said', 300, undefined, 300],
    ['is a minute at least', 5, undefined, 60],
    ['counts from now when the date makes no sense', 300, 'yesterday', 300],
  ])('%s', (_, seconds, issuedAt, left) => {
    // It is renewed ten seconds before its end.
    expect(expiry(seconds, issuedAt, now)).toBe(now + (left - 10) * 1000);
  });
});
