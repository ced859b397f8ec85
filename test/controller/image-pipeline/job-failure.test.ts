import { describe, expect, it } from 'vitest';
import { linesOfFailure } from '../../../src/controller/image-pipeline/job-failure.ts';

const complaint = "/src/hello.c:12:9: error: implicit declaration of function 'print_info'";

describe('what a log says of a failure', () => {
  it('is its last lines, without colours and empty lines', () => {
    expect(linesOfFailure('one\ntwo\n\u001b[31mthree\u001b[0m\n\nfour\n')).toBe('two | three | four');
  });

  it('is what a compiler complained about first, however much comes after it', () => {
    const log = [
      'make',
      complaint,
      'a.c:13:1: error: more',
      ...Array<string>(20).fill('make: Error 2'),
      'the end',
    ];
    expect(linesOfFailure(log.join('\n'))).toBe(`${complaint} | … | the end`);
  });

  it('repeats no complaint that is among the last lines', () => {
    expect(linesOfFailure(`make\n${complaint}\nthe end`)).toBe(`make | ${complaint} | the end`);
  });

  it('is short enough for a status, and shows no token', () => {
    const token = `ey${'a'.repeat(36)}.${'b'.repeat(20)}`;
    for (const log of [
      'x'.repeat(5000),
      `${complaint}${'y'.repeat(5000)}\na\nb\n${'z'.repeat(5000)} ${token}`,
    ]) {
      const text = linesOfFailure(log);
      expect(text.length).toBeLessThan(620);
      expect(text).not.toContain(token);
    }
  });
});
