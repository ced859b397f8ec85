import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { excerpt, printable } from '../../src/shared/printable.ts';

describe('printable text', () => {
  test.each([
    ['a control character', 'a\u001b[2Jb', 'a\\x1b[2Jb'],
    ['a line break', 'a\r\nb', 'a\\x0d\\x0ab'],
    ['a change of direction', 'a\u202ec', 'a\\u{202e}c'],
    ['a line separator', 'a\u2028b', 'a\\u{2028}b'],
    ['an invisible character beyond the first plane', 'a\u{e0041}', 'a\\u{e0041}'],
  ])('shows %s in escaped form', (_title, text, shown) => {
    expect(printable(text)).toBe(shown);
  });

  test('is not changed when nothing in it is unprintable', () => {
    const text = '/lib/modules/6.1.0/Ä ö "quoted" \\x1b 中.ko';
    expect(printable(text)).toBe(text);
  });

  test('cannot drive a terminal, whatever it is made from', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(printable(text)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      }),
    );
  });
});

describe('an excerpt of what a server says', () => {
  test('is one line, printable', () => {
    expect(excerpt('a\u001b[31mred\r\nb\u202ec ')).toBe('a\\x1b[31mred b\\u{202e}c');
  });

  test('has no token', () => {
    expect(excerpt('you sent Bearer abc.def, Basic Zm9v')).toBe('you sent [redacted] [redacted]');
  });

  test('is cut short', () => {
    expect(excerpt('x'.repeat(1000))).toHaveLength(301);
  });
});
