import { expect, it } from 'vitest';
import { LruMap } from '../../src/shared/lru.ts';

it('a map of limited size loses what has not been used for longest', () => {
  const recent = new LruMap<number>(2);
  recent.set('a', 1);
  recent.set('b', 2);
  expect(recent.get('a')).toBe(1);
  recent.set('c', 3);
  expect([recent.get('a'), recent.get('b'), recent.get('c')]).toEqual([1, undefined, 3]);
  recent.set('a', 4);
  recent.set('d', 5);
  expect([recent.get('a'), recent.get('c'), recent.get('d')]).toEqual([4, undefined, 5]);
});

it('a map of limited bytes evicts by size, and takes nothing that is too large alone', () => {
  const texts = new LruMap<string>(6, ({ length }) => length);
  const kept = (): unknown[] => texts.values();
  texts.set('a', 'aaa');
  texts.set('b', 'b');
  texts.set('a', 'aa');
  texts.set('c', 'ccc');
  expect(kept()).toEqual(['b', 'aa', 'ccc']);
  texts.set('d', 'dddd');
  expect(kept()).toEqual(['dddd']);
  texts.set('e', 'ee');
  texts.delete('d');
  texts.set('large', '1234567');
  texts.set('f', 'ffff');
  expect(kept()).toEqual(['ee', 'ffff']);
  texts.set('e', '1234567');
  expect(kept()).toEqual(['ffff']);
});
