import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { LayerStore } from '../../../../src/signer/image/read/layer-store.ts';
import { collect } from '../../../support/tar-blocks.ts';

test('a copy is whole when the layer has passed', async () => {
  await using store = new LayerStore();
  const layer = Array.from({ length: 3 }, () => randomBytes(20_000_000));
  // The store frees what it is given.
  const given = Readable.from(layer.map((part) => Buffer.from(part)));
  expect(await collect(store.tee(0, given))).toHaveLength(60_000_000);
  const copy = await collect(store.open(0));
  expect(copy.equals(Buffer.concat(layer))).toBe(true);
});
