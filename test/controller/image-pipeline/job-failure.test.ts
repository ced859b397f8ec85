import { describe, expect, it } from 'vitest';
import { failureExcerpt } from '../../../src/controller/image-pipeline/job-failure.ts';

const compilerError = "/src/hello.c:12:9: error: implicit declaration of function 'print_info'";

describe("the excerpt of a failed Job's log", () => {
  it('is its last lines without colours and empty lines', () => {
    expect(failureExcerpt('one\ntwo\n\u001b[31mthree\u001b[0m\n\nfour\n')).toBe('two | three | four');
  });

  it('begins with the first error of a compiler, however much output follows', () => {
    const log = [
      'make',
      compilerError,
      'a.c:13:1: error: more',
      ...Array<string>(20).fill('make: Error 2'),
      'the end',
    ];
    expect(failureExcerpt(log.join('\n'))).toBe(`${compilerError} | … | the end`);
  });

  it('does not repeat a compiler error that is among the last lines', () => {
    expect(failureExcerpt(`make\n${compilerError}\nthe end`)).toBe(`make | ${compilerError} | the end`);
  });

  it('is short enough for a status and shows no token', () => {
    const token = `ey${'a'.repeat(36)}.${'b'.repeat(20)}`;
    for (const log of [
      'x'.repeat(5000),
      `${compilerError}${'y'.repeat(5000)}\na\nb\n${'z'.repeat(5000)} ${token}`,
    ]) {
      const text = failureExcerpt(log);
      expect(text.length).toBeLessThan(620);
      expect(text).not.toContain(token);
    }
  });
});
