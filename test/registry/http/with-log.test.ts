import { expect, test } from 'vitest';
import { warningsOf } from '../../../src/registry/http/with-log.ts';

test('warnings are the texts whose code is 299', () => {
  expect(warningsOf('299 - "a \\"b\\"", 199 - "old", 299 registry "c, d"')).toEqual(['a "b"', 'c, d']);
});
