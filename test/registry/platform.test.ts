import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RegistryError } from '../../src/registry/errors.ts';
import { formatPlatform, matchesPlatform, parsePlatform } from '../../src/registry/platform.ts';

const word = fc.stringMatching(/^[a-z0-9_]{1,10}$/);
const optionalWord = fc.option(word, { nil: undefined });

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
});
