import { RE2JS } from 're2js';

/** A compiled regular expression. */
export interface RegularExpression {
  /** Returns whether it matches anywhere in `text`. */
  test(text: string): boolean;
}

/** Maximum number of cached expressions: they come from users and are compiled repeatedly. */
const maxCached = 1024;
const cache = new Map<string, RegularExpression | Error>();

/**
 * Compiles an expression in Go's syntax (RE2), not anchored. It runs in linear time.
 * @returns an Error with the reason if the expression is invalid
 */
export function compileRegularExpression(expression: string): RegularExpression | Error {
  const known = cache.get(expression);
  if (known !== undefined) return known;
  if (cache.size >= maxCached) cache.clear();
  const compiled = compile(expression);
  cache.set(expression, compiled);
  return compiled;
}

function compile(expression: string): RegularExpression | Error {
  try {
    const compiled = RE2JS.compile(expression);
    return { test: (text) => compiled.matcher(text).find() };
  } catch (error) {
    return error instanceof Error ? error : new Error('it cannot be compiled');
  }
}
