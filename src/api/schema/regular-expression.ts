import { RE2JS } from 're2js';

/** A compiled regular expression. */
export interface RegularExpression {
  /** Tells whether it matches anywhere in `text`. */
  test(text: string): boolean;
}

/** Expressions come from users and are compiled again and again; as many are kept. */
const maxCached = 1024;
const cache = new Map<string, RegularExpression | Error>();

/**
 * Compiles an expression of the syntax that Go has (RE2), not anchored. It runs in linear time.
 * @returns an Error that says why, when it is not one
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
