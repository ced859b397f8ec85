import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { printable } from '../../../src/shared/printable.ts';
import { retryDelay } from '../../../src/registry/http/with-retry.ts';
import {
  mergeScopes,
  readsOnly,
  repositoryOf,
  scopeKey,
  scopesOf,
} from '../../../src/registry/http/challenge.ts';
import { expiry } from '../../../src/registry/http/token.ts';
import { warningsOf } from '../../../src/registry/http/with-log.ts';
import { parseRetryAfter } from '../../../src/shared/backoff.ts';

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

describe('retryDelay', () => {
  const usual = { base: 500, retryAfter: null, maxRetryAfter: 60_000, random: 0.5 };

  it('doubles, up to half a minute', () => {
    expect([1, 2, 3, 4, 20].map((attempt) => retryDelay({ ...usual, attempt }))).toEqual([
      500, 1000, 2000, 4000, 30_000,
    ]);
  });

  it('is never shorter than the server asks for, and gives up when that is too long', () => {
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

describe('scopes', () => {
  it('are merged by resource, in the order of first appearance', () => {
    expect(mergeScopes(['repository:b:pull', 'repository:a:pull repository:b:push,pull'])).toEqual([
      'repository:b:pull,push',
      'repository:a:pull',
    ]);
  });

  it('have one name whatever their order', () => {
    expect(scopeKey(['repository:a:push,pull', 'repository:b:pull'])).toBe(
      scopeKey(['repository:b:pull', 'repository:a:pull,push']),
    );
  });

  it('only read when every action is to pull', () => {
    expect(readsOnly(['repository:a:pull', 'repository:b:pull'])).toBe(true);
    expect(readsOnly(['repository:a:pull', 'repository:b:pull,push'])).toBe(false);
  });

  it.each([
    ['GET', '/v2/a/b/manifests/1.0', ['repository:a/b:pull']],
    ['HEAD', '/v2/a/blobs/sha256:00', ['repository:a:pull']],
    ['POST', '/v2/a/blobs/uploads/?mount=x', ['repository:a:pull,push']],
    ['DELETE', '/v2/a/manifests/sha256:00', ['repository:a:delete']],
    ['GET', '/v2/', []],
  ] as const)('of %s %s are %j', (method, path, scopes) => {
    expect(scopesOf({ method, url: new URL(path, 'https://r.example') })).toEqual(scopes);
  });

  it.each([
    ['/v2/a/manifests/manifests/x', 'a/manifests'],
    ['/v2/blobs/tags/list', 'blobs'],
    ['/v2/a/b/referrers/sha256:00', 'a/b'],
    ['/other', ''],
  ])('name the repository of %s', (path, repository) => {
    expect(repositoryOf(new URL(path, 'https://r.example'))).toBe(repository);
  });
});

describe('words of a server', () => {
  it('are cut short, without control characters and without what looks like a login', () => {
    expect(printable('a\u001b[31mred\r\nb\u202ec')).toBe('a [31mred b c');
    expect(printable('you sent Bearer abc.def, Basic Zm9v')).toBe('you sent [redacted] [redacted]');
    expect(printable('x'.repeat(1000))).toHaveLength(301);
  });

  it('are warnings when their code is 299', () => {
    expect(warningsOf('299 - "a \\"b\\"", 199 - "old", 299 registry "c, d"')).toEqual(['a "b"', 'c, d']);
  });
});
