import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RegistryError } from '../../../src/registry/model/errors.ts';
import {
  choosePlatform,
  formatPlatform,
  matchesPlatform,
  normalizePlatform,
  parsePlatform,
  type Platform,
} from '../../../src/registry/model/platform.ts';

const word = fc.stringMatching(/^[a-z0-9_]{1,10}$/);
const optionalWord = fc.option(word, { nil: undefined });

/** As a descriptor states it: no part has to be there. */
function stated(text: string): Platform {
  const [os = '', architecture = '', variant] = text.split('/');
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

describe('a platform', () => {
  test('with a variant has three parts', () => {
    expect(parsePlatform('linux/arm64/v8')).toEqual({ os: 'linux', architecture: 'arm64', variant: 'v8' });
  });

  test('is read as it was written', () => {
    fc.assert(
      fc.property(word, word, optionalWord, optionalWord, (os, architecture, variant, version) => {
        const text = `${os}/${architecture}${variant === undefined ? '' : `/${variant}`}${version === undefined ? '' : `:${version}`}`;
        expect(formatPlatform(parsePlatform(text))).toBe(text);
      }),
    );
  });

  test.each([
    '',
    'linux',
    'linux/',
    '/amd64',
    'linux/amd64/',
    'linux/amd64/v1/x',
    'linux amd64',
    'linux/amd64\n',
  ])('is not %j', (text) => {
    expect(() => parsePlatform(text)).toThrow(RegistryError);
  });

  test.each([
    ['linux/amd64', 'linux/amd64', true],
    ['linux/arm64', 'linux/arm64/v8', true],
    ['linux/arm64/v8', 'linux/arm64', true],
    ['linux/arm', 'linux/arm/v6', true],
    ['linux/arm/v7', 'linux/arm/v6', false],
    ['linux/arm/v7', 'linux/arm', true],
    ['linux/amd64', 'linux/arm64', false],
    ['linux/amd64', 'windows/amd64:10.0.17763', false],
    ['windows/amd64', 'windows/amd64:10.0.17763', true],
    ['windows/amd64:10.0.20348', 'windows/amd64:10.0.17763', false],
  ])('asked for as %s and stated as %s: %s', (wanted, actual, matches) => {
    expect(matchesPlatform(parsePlatform(wanted), parsePlatform(actual))).toBe(matches);
  });

  // What Normalize of github.com/containerd/platforms v1.0.0-rc.1 gives on Linux.
  test.each([
    ['linux/amd64', 'linux/amd64'],
    ['Linux/AMD64', 'linux/amd64'],
    ['linux/x86_64', 'linux/amd64'],
    ['linux/x86-64', 'linux/amd64'],
    ['/amd64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/amd64/V2', 'linux/amd64/v2'],
    ['linux/i386', 'linux/386'],
    ['linux/386', 'linux/386'],
    ['linux/arm64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/aarch64/8', 'linux/arm64'],
    ['linux/arm64/v8.0', 'linux/arm64'],
    ['linux/arm64/v8.2', 'linux/arm64/v8.2'],
    ['linux/arm64/9', 'linux/arm64/v9'],
    ['linux/ARM64/V9.0', 'linux/arm64/v9'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/arm/7', 'linux/arm/v7'],
    ['linux/arm/v6', 'linux/arm/v6'],
    ['linux/arm/6', 'linux/arm/v6'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/armhf/v6', 'linux/arm/v7'],
    ['macOS/arm64', 'darwin/arm64'],
    ['linux/PPC64LE', 'linux/ppc64le'],
    ['unknown/unknown', 'unknown/unknown'],
    ['linux/constructor', 'linux/constructor'],
  ])('%s is %s to containerd and to us', (text, normalized) => {
    expect(formatPlatform(normalizePlatform(stated(text)))).toBe(normalized);
  });

  // What Only of the same package puts first.
  test.each([
    ['linux/amd64', ['linux/arm64', 'linux/amd64'], 1],
    ['linux/amd64', ['linux/x86_64', 'linux/amd64'], 0],
    ['linux/arm/v7', ['linux/arm/v5', 'linux/armel', 'linux/arm64'], 1],
    ['linux/arm/v7', ['linux/arm/v6', 'linux/armhf', 'linux/arm/v7'], 1],
    ['linux/arm/v6', ['linux/arm/v7', 'linux/arm/v5'], 1],
    ['linux/arm64', ['linux/arm64/v9', 'linux/aarch64', 'linux/arm64/v8'], 1],
    ['linux/amd64', ['linux/arm64'], undefined],
  ] as const)('asked for as %s of %j: containerd and we take the same', (wanted, candidates, index) => {
    const chosen = choosePlatform(
      Object.keys(candidates),
      (at) => stated(candidates[Number(at)] ?? ''),
      stated(wanted),
    );
    expect(chosen).toBe(index?.toString());
  });

  test.each([
    ['linux/x86-64', '/AMD64', true],
    ['linux/armhf', 'linux/arm', true],
    ['linux/armhf', 'linux/arm/v6', false],
    ['linux/i386', 'linux/386', true],
    ['Linux/aarch64', 'linux/arm64/v8', true],
  ])('asked for as %s and stated in another spelling as %s: %s', (wanted, actual, matches) => {
    expect(matchesPlatform(parsePlatform(wanted), stated(actual))).toBe(matches);
  });
});
