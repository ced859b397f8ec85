import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  mergeScopes,
  parseChallenges,
  readsOnly,
  repositoryOf,
  scopeKey,
  scopesOf,
} from '../../../src/registry/http/challenge.ts';

const read = (header: string): [string, Record<string, string>][] =>
  parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

describe('parseChallenges', () => {
  it.each<[string, string, [string, Record<string, string>][]]>([
    [
      'the challenge of a registry',
      'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"',
      [
        [
          'bearer',
          {
            realm: 'https://auth.example/token',
            service: 'registry.example',
            scope: 'repository:a/b:pull,push',
          },
        ],
      ],
    ],
    // RFC 9110, section 11.6.1 has this example.
    [
      'the example of the RFC',
      'Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""',
      [
        ['basic', { realm: 'simple' }],
        ['newauth', { realm: 'apps', type: '1', title: 'Login to "apps"' }],
      ],
    ],
    [
      'several schemes, one without parameters',
      'Negotiate, Basic realm="x"',
      [
        ['negotiate', {}],
        ['basic', { realm: 'x' }],
      ],
    ],
    [
      'a scheme with an opaque token',
      'NTLM TlRMTVNTUAAC==, Bearer realm=/t',
      [
        ['ntlm', {}],
        ['bearer', { realm: '/t' }],
      ],
    ],
    [
      'values without quotes',
      'Bearer realm=https://a.example/t?x=1,service=s',
      [['bearer', { realm: 'https://a.example/t?x=1', service: 's' }]],
    ],
    ['names in capitals', 'BEARER Realm="x", SERVICE="y"', [['bearer', { realm: 'x', service: 'y' }]]],
    [
      'space around the equals sign',
      'Bearer realm = "x" , service ="y"',
      [['bearer', { realm: 'x', service: 'y' }]],
    ],
    [
      'commas in quotes',
      'Bearer scope="a:b:pull,push a:c:pull",realm="x"',
      [['bearer', { scope: 'a:b:pull,push a:c:pull', realm: 'x' }]],
    ],
    ['the first of two equal parameters', 'Bearer realm="x",realm="y"', [['bearer', { realm: 'x' }]]],
    ['a quote that never ends', 'Bearer realm="x', [['bearer', { realm: 'x' }]]],
    ['nothing', '', []],
    ['nonsense', '"""', []],
  ])('reads %s', (_, header, challenges) => {
    expect(read(header)).toEqual(challenges);
  });

  const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);
  const value = fc.string({ unit: fc.constantFrom('a', ' ', ',', '=', '"', '\\', '/', ':'), maxLength: 12 });

  it('returns whatever was quoted', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(name, { minLength: 1, maxLength: 4 }),
        fc.array(value, { minLength: 4, maxLength: 4 }),
        (names, values) => {
          const quoted = names.map(
            (key, index) => `${key}="${(values[index] ?? '').replaceAll(/["\\]/g, '\\$&')}"`,
          );
          const [challenge] = read(`Bearer ${quoted.join(', ')}`);
          expect(challenge).toEqual([
            'bearer',
            Object.fromEntries(names.map((key, index) => [key, values[index]])),
          ]);
        },
      ),
    );
  });

  it('never throws and never hangs', () => {
    const nasty = fc.string({
      unit: fc.constantFrom('Bearer', ' ', ',', '=', '"', '\\', 'a', '\0', 'é'),
      maxLength: 60,
    });
    fc.assert(
      fc.property(nasty, (header) => {
        expect(parseChallenges(header).length).toBeLessThanOrEqual(header.length);
      }),
      { numRuns: 3000 },
    );
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
