import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseGoFlags } from '../../src/cli/options/go-flags.ts';
import { parseDuration } from '../../src/cli/options/shared-options.ts';
import { formatBytes } from '../../src/cli/output/text.ts';

describe('durations', () => {
  test.each([
    ['90s', 90_000],
    ['10m', 600_000],
    ['1h30m', 5_400_000],
    ['1.5h', 5_400_000],
    ['250ms', 250],
  ])('%s', (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  test.each(['', '10', 'm', '-1m', '1d', '0s', '1000h', '1m 2s', '1..5s'])('%s is none', (text) => {
    expect(() => parseDuration(text)).toThrow(/duration|between/);
  });
});

describe("flags as Go's package flag reads them", () => {
  const known = { values: ['key', 'unsignedimage'], booleans: ['no-push'], helpCommand: 'program -help' };

  test.each([[['-key', 'a']], [['--key', 'a']], [['-key=a']], [['--key=a']], [['-key', 'b', '-key', 'a']]])(
    '%j gives the key a',
    (args) => {
      expect(parseGoFlags(args, known).values.get('key')).toBe('a');
    },
  );

  test('a value may be empty, hold an equals sign or begin with a dash', () => {
    expect(parseGoFlags(['-key=', '-unsignedimage', '-x=y'], known).values).toEqual(
      new Map([
        ['key', ''],
        ['unsignedimage', '-x=y'],
      ]),
    );
  });

  test('booleans are given with an equals sign or alone', () => {
    expect(parseGoFlags(['-no-push'], known).booleans.has('no-push')).toBe(true);
    expect(parseGoFlags(['-no-push', '-no-push=false'], known).booleans.has('no-push')).toBe(false);
    expect(() => parseGoFlags(['-no-push', 'true'], known)).toThrow(/not a flag/);
  });

  test.each([[['-key']], [['key']], [['-']], [['--']], [['-no-push=maybe']], [['-other', 'x']]])(
    '%j is refused',
    (args) => {
      expect(() => parseGoFlags(args, known)).toThrow(/flag/i);
    },
  );

  test('every value comes back as it was given, in both forms', () => {
    fc.assert(
      fc.property(fc.string(), (value) => {
        expect(parseGoFlags(['-key', value], known).values.get('key')).toBe(value);
        expect(parseGoFlags([`-key=${value}`], known).values.get('key')).toBe(value);
      }),
    );
  });
});

describe('text for people', () => {
  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [12_345_678, '12.3 MB'],
    [1_060_000_000, '1.1 GB'],
  ])('%d bytes are %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});
