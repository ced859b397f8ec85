import { getEventListeners } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { BlobStream, type BlobSource } from '../../../src/registry/transfer/blob-stream.ts';
import { waitFor } from '../../support/wait-for.ts';
import { describeBlob, noise } from './transfer-server.ts';

const pollOptions = { timeout: 20_000, interval: 5 };
const blob = noise(10_000);
const descriptor = describeBlob(blob);
const place = 'registry.example/vendor/driver';

test('a blob that is given up while its connection is renewed lets go of the new one', async () => {
  const renewed = Promise.withResolvers<BlobSource>();
  const first = new PassThrough();
  let opened = 0;
  const stream = await BlobStream.open({
    descriptor,
    place,
    open: () => {
      opened += 1;
      return opened === 1 ? Promise.resolve({ body: first, start: 0 }) : renewed.promise;
    },
  });
  first.end(blob.subarray(0, 1000));
  stream.resume();
  await waitFor(() => expect(opened).toBe(2), pollOptions);
  stream.destroy();
  const second = new PassThrough();
  renewed.resolve({ body: second, start: 1000 });
  await waitFor(() => expect(second.destroyed).toBe(true), pollOptions);
});

test('a signal that serves many blobs does not remember those that are over', async () => {
  const { signal } = new AbortController();
  for (const body of [blob, Buffer.concat([blob, blob])]) {
    const open = () => Promise.resolve({ body: Readable.from([body]), start: 0 });
    await BlobStream.open({ descriptor, place, open, signal })
      .then(buffer, () => {})
      .catch(() => {});
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  }
});

test('a connection waits for a reader that takes its time', async () => {
  const large = noise(5_000_000);
  const pieces = Array.from({ length: 50 }, (_, at) => large.subarray(at * 100_000, (at + 1) * 100_000));
  const body = Readable.from(pieces);
  const open = () => Promise.resolve({ body, start: 0 });
  const stream = await BlobStream.open({ descriptor: describeBlob(large), place, open });
  await waitFor(() => expect(body.isPaused()).toBe(true), pollOptions);
  expect(stream.readableLength).toBe(300_000);
  expect((await buffer(stream)).equals(large)).toBe(true);
});
