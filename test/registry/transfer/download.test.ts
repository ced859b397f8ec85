import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import type { Digest } from '../../../src/registry/model/digest.ts';
import type { Descriptor } from '../../../src/registry/model/manifest.ts';
import { rejection } from '../http/local-server.ts';
import { describeBlob, noise, openRemote, startExchange, type Exchange } from './transfer-server.ts';

const blob = noise(5_000_000);
const descriptor = describeBlob(blob);

/** Reads the blob through a server, and tells what was sent and what came. */
async function download(
  answer: (
    response: ServerResponse,
    exchange: Exchange & { range: string | undefined; count: number },
  ) => void,
  wanted: Descriptor = descriptor,
): Promise<{ result: unknown; ranges: (string | undefined)[]; bytesDown: number }> {
  const ranges: (string | undefined)[] = [];
  await using server = await startExchange((exchange) => {
    ranges.push(exchange.request.headers.range);
    answer(exchange.response, { ...exchange, range: exchange.request.headers.range, count: ranges.length });
  });
  const repository = openRemote(server.host);
  try {
    const result = await repository
      .openBlob(wanted)
      .then(buffer)
      .catch((error: unknown) => error);
    return { result, ranges, bytesDown: repository.traffic.bytesDown };
  } finally {
    await repository.close();
  }
}

const startOf = (range: string | undefined): number => Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);

/** Sends from a position, and hangs up after some bytes. */
function sendPart(response: ServerResponse, start: number, count: number, bytes = blob): void {
  const whole = bytes.subarray(start);
  response.writeHead(start === 0 ? 200 : 206, {
    'content-length': whole.length,
    ...(start === 0 ? {} : { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
  });
  if (count >= whole.length) response.end(whole);
  else response.write(whole.subarray(0, count), () => response.destroy());
}

describe('a download', () => {
  test('returns the bytes, and counts them', async () => {
    const { result, bytesDown } = await download((response) => sendPart(response, 0, Infinity));
    expect(blob.equals(result as Buffer)).toBe(true);
    expect(bytesDown).toBe(blob.length);
  });

  test('of a sha512 digest is verified with that', async () => {
    const hex = createHash('sha512').update(blob).digest('hex');
    const wanted = { ...descriptor, digest: `sha512:${hex}` as Digest };
    const { result } = await download((response) => sendPart(response, 0, Infinity), wanted);
    expect(blob.equals(result as Buffer)).toBe(true);
  });

  test('of nothing ends', async () => {
    const { result } = await download((response) => response.end(), describeBlob(Buffer.alloc(0)));
    expect(result).toEqual(Buffer.alloc(0));
  });

  test('that breaks off is resumed where it was', async () => {
    const { result, ranges, bytesDown } = await download((response, { range, count }) =>
      sendPart(response, startOf(range), count < 4 ? 1_300_000 : Infinity),
    );
    expect(blob.equals(result as Buffer)).toBe(true);
    expect(ranges[0]).toBeUndefined();
    expect(ranges.slice(1).map(startOf)).toEqual(
      ranges
        .slice(1)
        .map(startOf)
        .toSorted((a, b) => a - b),
    );
    // A connection that breaks may lose bytes that were on their way: where it went on is not known in advance.
    expect(ranges).toHaveLength(4);
    expect(startOf(ranges.at(1))).toBeGreaterThan(0);
    expect(bytesDown).toBe(blob.length);
  });

  test('that breaks off again and again without progress ends', async () => {
    const { result, ranges } = await download((response, { range }) =>
      sendPart(response, startOf(range), 1000),
    );
    expect(result).toMatchObject({ code: 'NETWORK' });
    const starts = [1000, 2000, 3000, 4000, 5000].map((start) => `bytes=${start}-`);
    expect(ranges).toEqual([undefined, ...starts]);
  });

  test('skips what it has when the registry starts over', async () => {
    const { result } = await download((response, { count }) =>
      sendPart(response, 0, count === 1 ? 2_000_000 : Infinity),
    );
    expect(blob.equals(result as Buffer)).toBe(true);
  });

  test('is not resumed at a position other than the requested one', async () => {
    const { result } = await download((response, { count }) => {
      if (count === 1) return sendPart(response, 0, 2_000_000);
      response.writeHead(206, { 'content-range': `bytes 1-${blob.length - 1}/${blob.length}` });
      response.end(blob.subarray(1));
    });
    expect(result).toMatchObject({ code: 'UNEXPECTED_RESPONSE' });
  });

  test('whose bytes changed between two connections ends in an error', async () => {
    const other = noise(blob.length, 'other');
    const { result } = await download((response, { range, count }) =>
      sendPart(response, startOf(range), count === 1 ? 2_000_000 : Infinity, count === 1 ? blob : other),
    );
    expect(result).toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  test('of other bytes ends in an error and never in an end', async () => {
    const other = Buffer.from(blob);
    other[4_999_999] = (other[4_999_999] ?? 0) ^ 1;
    await using server = await startExchange(({ response }) => response.end(other));
    const repository = openRemote(server.host);
    const stream = await repository.openBlob(descriptor);
    const events: string[] = [];
    stream.on('end', () => events.push('end')).on('error', () => events.push('error'));
    await expect(buffer(stream)).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
      facts: { digest: descriptor.digest },
    });
    expect(events).toEqual(['error']);
    await repository.close();
  });

  test('with another Content-Length is refused before it begins', async () => {
    const { result, bytesDown } = await download((response) => response.end(blob.subarray(1)));
    expect(result).toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(bytesDown).toBe(0);
  });

  test('without a Content-Length that does not stop is cut off', async () => {
    const { result, bytesDown } = await download((response) => {
      response.writeHead(200, { 'transfer-encoding': 'chunked' });
      response.write(blob);
      response.write(blob);
      response.end(blob);
    });
    expect(result).toMatchObject({ code: 'DIGEST_MISMATCH', message: expect.stringContaining('more bytes') });
    // Where the bytes are cut into chunks is up to the system: at most one of 64 KiB comes on top.
    expect(bytesDown).toBeGreaterThan(blob.length);
    expect(bytesDown).toBeLessThanOrEqual(blob.length + 64 * 1024);
  });

  test.each([
    [404, 'BLOB_NOT_FOUND'],
    [403, 'DENIED'],
    [418, 'UNEXPECTED_RESPONSE'],
  ])('that gets %i fails at once', async (status, code) => {
    const { result } = await download((response) => response.writeHead(status).end());
    expect(result).toMatchObject({ code });
  });

  test('is resumed at the registry, not at the storage that it redirected to, which gets no password', async () => {
    await using storage = await startExchange(({ request, response, url }) => {
      const start = startOf(request.headers.range);
      sendPart(response, start, url.searchParams.get('signature') === '1' ? 2_000_000 : Infinity);
    });
    let redirects = 0;
    await using server = await startExchange(({ request, response }) => {
      if (request.headers.authorization === undefined) {
        return response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
      }
      redirects += 1;
      return response.writeHead(307, { location: `${storage.url}/data?signature=${redirects}` }).end();
    });
    const repository = openRemote(server.host);
    expect(blob.equals(await buffer(await repository.openBlob(descriptor)))).toBe(true);
    expect(storage.seen.map(({ path }) => path)).toEqual(['/data?signature=1', '/data?signature=2']);
    expect(storage.seen.every(({ authorization }) => authorization === undefined)).toBe(true);
    await repository.close();
  });

  test('that is aborted ends with the reason, and closes its connection', async () => {
    const closed = Promise.withResolvers<void>();
    await using server = await startExchange(({ response }) => {
      response.on('close', () => closed.resolve());
      response.writeHead(200, { 'content-length': blob.length });
      response.write(blob.subarray(0, 1000));
    });
    const repository = openRemote(server.host);
    const abort = new AbortController();
    const stream = await repository.openBlob(descriptor, { signal: abort.signal });
    const reason = new Error('interrupted');
    stream.once('data', () => abort.abort(reason));
    expect(await rejection(buffer(stream))).toBe(reason);
    await closed.promise;
    await repository.close();
  });

  test('that is abandoned closes its connection', async () => {
    const closed = Promise.withResolvers<void>();
    await using server = await startExchange(({ response }) => {
      response.on('close', () => closed.resolve());
      response.writeHead(200, { 'content-length': blob.length });
      response.write(blob.subarray(0, 1000));
    });
    const repository = openRemote(server.host);
    (await repository.openBlob(descriptor)).destroy();
    expect(await closed.promise).toBeUndefined();
    await repository.close();
  });
});
