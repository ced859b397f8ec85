import { expect, it } from 'vitest';
import { isSameValue } from '../../../src/controller/runtime/same-value.ts';

it('values are the same if they are equal as JSON, but for the order of properties and what is not there', () => {
  const value = { a: 1, b: { c: [{ d: 'x' }, null], e: true } };
  for (const other of [
    { b: { e: true, c: [{ d: 'x' }, null] }, a: 1 },
    { ...value, f: undefined, g: [] },
    JSON.parse(JSON.stringify(value)) as unknown,
  ]) {
    expect([isSameValue(value, other), isSameValue(other, value)]).toEqual([true, true]);
  }
});

it.each([
  [{ a: 1 }, { a: 2 }],
  [{ a: 1 }, { a: '1' }],
  [{ a: 1 }, { b: 1 }],
  [{ a: 1 }, { a: 1, b: null }],
  [{ a: [1, 2] }, { a: [2, 1] }],
  [{ a: [1] }, { a: [1, 2] }],
  [{ a: [[]] }, { a: [{}] }],
  [{ a: {} }, { a: [1] }],
  [{ a: { toString: 1 } }, { a: {} }],
  [{}, undefined],
  [null, {}],
  [[], {}],
])('%j and %j are not the same', (one, other) => {
  expect([isSameValue(one, other), isSameValue(other, one)]).toEqual([false, false]);
});
