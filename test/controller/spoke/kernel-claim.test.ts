import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  assignKernelClaims,
  planKernelClaims,
  kernelClaimName,
  kernelClaimNames,
  readKernelClaims,
} from '../../../src/controller/spoke/kernel-claim.ts';

const release = fc.stringMatching(/^[1-9]\.[0-9]{1,3}\.[0-9]{1,3}-[a-z0-9_.~+-]{0,40}$/);
const asClaims = (claims: ReadonlyMap<string, string>) =>
  Array.from(claims, ([name, value]) => ({ name, value }));
/** Kernels, 36 of which fill a claim. */
const many = (count: number, flavour = 'el9'): string[] =>
  Array.from(
    { length: count },
    (_, index) => `5.14.0-${String(index).padStart(4, '0')}.1.1.${flavour}.x86_64+`,
  );

describe('the kernels in ClusterClaims', () => {
  it('are one claim, written as KMM writes it', () => {
    const { claims } = assignKernelClaims(['6.1.0-9+', '6.1.0-10', '6.1.0-9+'], new Map());
    expect([...claims]).toEqual([['kernel-versions.kmm.node.kubernetes.io', '6.1.0-10\n6.1.0-9+']]);
  });

  it('are read from KMM’s claims, and from nothing else', () => {
    const claims = [
      { name: 'id.k8s.io', value: '6.1.0' },
      { name: kernelClaimName, value: '6.6.1-200.fc39.x86_64\n5.14.0-284.el9+' },
    ];
    expect(readKernelClaims(claims)).toEqual({
      published: true,
      releases: ['5.14.0-284.el9+', '6.6.1-200.fc39.x86_64'],
      ignored: 0,
    });
    expect(readKernelClaims(undefined)).toEqual({ published: false, releases: [], ignored: 0 });
  });

  it('survive a round trip, as many as fit into claims of at most 1024 characters', () => {
    fc.assert(
      fc.property(fc.uniqueArray(release, { maxLength: 400 }), fc.uniqueArray(release), (before, now) => {
        const first = assignKernelClaims(before, new Map());
        const second = assignKernelClaims([...before.slice(0, 100), ...now], first.claims);
        for (const [given, { claims, omitted }] of [
          [before, first],
          [[...before.slice(0, 100), ...now], second],
        ] as const) {
          const expected = new Set(given.filter((one) => !omitted.includes(one)));
          expect(new Set(readKernelClaims(asClaims(claims)).releases)).toEqual(expected);
          for (const value of claims.values()) {
            expect(value.length).toBeGreaterThan(0);
            expect(value.length).toBeLessThanOrEqual(1024);
          }
        }
      }),
    );
  });

  it('stay in their claims when others come and go, so that none is missing meanwhile', () => {
    const before = assignKernelClaims(many(100), new Map());
    expect([...before.claims.keys()]).toEqual(kernelClaimNames.slice(0, 3));
    const kernels = [...many(100).slice(1), ...many(20, 'el8')];
    const { claims } = assignKernelClaims(kernels, before.claims);
    for (const [name, value] of before.claims) {
      const kept = value.split('\n').filter((line) => kernels.includes(line));
      expect(claims.get(name)?.split('\n')).toEqual(expect.arrayContaining(kept));
    }
  });

  it('return to one claim when they fit', () => {
    const before = assignKernelClaims(many(100), new Map());
    const { claims } = assignKernelClaims(many(100).slice(90), before.claims);
    expect([...claims]).toEqual([[kernelClaimName, many(100).slice(90).join('\n')]]);
  });

  it('are omitted by name when all claims are full', () => {
    const { claims, omitted } = assignKernelClaims(many(400), new Map());
    expect(claims.size).toBe(8);
    expect(omitted).toEqual(many(400).slice(400 - omitted.length));
    expect(omitted.length).toBeGreaterThan(0);
  });

  it('are repacked when no claim has enough free space', () => {
    const before = assignKernelClaims(many(288), new Map());
    // One of each claim goes, ten more of the last: 45 characters are free in seven claims, 325 in the last.
    const kept = many(288).filter((_, index) => index % 36 !== 0 && index < 278);
    const long = Array.from({ length: 8 }, (_, index) => `4.18.0-${index}-${'x'.repeat(55)}`);
    const { claims, omitted } = assignKernelClaims([...kept, ...long], before.claims);
    expect(omitted).toEqual([]);
    expect(readKernelClaims(asClaims(claims)).releases).toEqual([...long, ...kept]);
  });

  it.each([
    ['a path', '../../etc'],
    ['a directory', '..'],
    ['an option', '--privileged'],
    ['a line with spaces', '6.1.0 evil'],
    ['more than 64 characters', `6.${'1'.repeat(64)}`],
    ['a control character', '6.1\u0000'],
    ['a letter that is not ASCII', '6.1ä'],
  ])('do not count when they are %s', (_, line) => {
    const read = readKernelClaims([{ name: kernelClaimName, value: `6.1.0\n${line}` }]);
    expect(read).toEqual({ published: true, releases: ['6.1.0'], ignored: 1 });
    expect(assignKernelClaims(['6.1.0', line], new Map()).omitted).toEqual([line]);
  });

  it('are limited, whatever a cluster publishes', () => {
    const flood = many(100_000).join('\n');
    const claims = kernelClaimNames.flatMap((name) => [
      { name, value: flood },
      { name, value: 'again' },
    ]);
    const { releases, ignored } = readKernelClaims([...claims, null, 'text', { name: 1 }, { value: 'x' }]);
    expect(releases.length + ignored).toBeLessThan(64);
    expect(readKernelClaims('kernel-versions')).toMatchObject({ published: false });
  });
});

describe('the plan for the claims of a cluster', () => {
  const [first = '', second = ''] = kernelClaimNames;

  it('writes and deletes nothing if all is up to date', () => {
    const current = new Map([[first, '6.1.0-10\n6.1.0-9']]);
    expect(planKernelClaims(['6.1.0-9', '6.1.0-10', '6.1.0-9'], current)).toEqual({
      writes: [],
      deletes: [],
      omitted: [],
    });
  });

  it.each([
    ['is missing', new Map<string, string>()],
    ['says something else', new Map([[first, 'wrong']])],
  ])('writes a claim that %s', (_title, current) => {
    expect(planKernelClaims(['6.1.0-9'], current)).toMatchObject({
      writes: [[first, '6.1.0-9']],
      deletes: [],
    });
  });

  it('deletes claims that are no longer needed', () => {
    const current = new Map([
      [first, '6.1.0-9'],
      [second, '6.1.0-10'],
    ]);
    expect(planKernelClaims(['6.1.0-9'], current)).toMatchObject({ writes: [], deletes: [second] });
    expect(planKernelClaims([], current)).toMatchObject({ writes: [], deletes: [first, second] });
  });

  it('silently omits nodes that have not reported a kernel', () => {
    expect(planKernelClaims(['', '6.1.0-9'], new Map())).toEqual({
      writes: [[first, '6.1.0-9']],
      deletes: [],
      omitted: [],
    });
  });

  it('lists the kernels that are not published', () => {
    expect(planKernelClaims(['not a kernel'], new Map())).toEqual({
      writes: [],
      deletes: [],
      omitted: ['not a kernel'],
    });
  });
});
