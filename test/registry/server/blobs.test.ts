import { randomBytes } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hashOf, pushBlob } from '../../support/distribution-client.ts';
import { startEmbedded, type TestRegistry } from '../../support/registries.ts';

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startEmbedded();
});
afterAll(() => registry.close());

const repository = (name: string): string => `${registry.url}/v2/${name}`;
const absolute = (location: string | null): URL => new URL(location ?? '', registry.url);

async function errorOf(response: Response): Promise<unknown> {
  const { errors } = (await response.json()) as { errors: { code: string }[] };
  return [response.status, errors[0]?.code];
}

describe('a blob', () => {
  const content = randomBytes(3_000_000);

  test('comes back as it went in', async () => {
    const digest = await pushBlob(repository('whole'), content);
    const response = await fetch(`${repository('whole')}/blobs/${digest}`);
    expect(response.headers.get('docker-content-digest')).toBe(digest);
    expect(Buffer.from(await response.arrayBuffer()).equals(content)).toBe(true);
  });

  test('may be empty', async () => {
    const digest = await pushBlob(repository('empty'), '');
    const response = await fetch(`${repository('empty')}/blobs/${digest}`);
    expect([response.status, response.headers.get('content-length'), await response.text()]).toEqual([
      200,
      '0',
      '',
    ]);
  });

  test('can be stored by its sha512', async () => {
    const digest = hashOf(content, 'sha512');
    const post = await fetch(`${repository('long')}/blobs/uploads/?digest=${digest}`, {
      method: 'POST',
      body: content,
    });
    expect(post.status).toBe(201);
    const head = await fetch(absolute(post.headers.get('location')), { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, String(content.length)]);
  });

  test.each([
    ['bytes=0-0', 206, 0, 1],
    ['bytes=100-199', 206, 100, 200],
    ['bytes=2999990-', 206, 2_999_990, 3_000_000],
    ['bytes=-10', 206, 2_999_990, 3_000_000],
    ['bytes=2999990-9999999', 206, 2_999_990, 3_000_000],
    ['bytes=5-4', 200, 0, 3_000_000],
    ['lines=1-2', 200, 0, 3_000_000],
  ])('is read in part: %s', async (range, status, start, end) => {
    const digest = await pushBlob(repository('parts'), content);
    const response = await fetch(`${repository('parts')}/blobs/${digest}`, { headers: { range } });
    expect(response.status).toBe(status);
    expect(response.headers.get('content-range')).toBe(
      status === 206 ? `bytes ${start}-${end - 1}/${content.length}` : null,
    );
    expect(Buffer.from(await response.arrayBuffer()).equals(content.subarray(start, end))).toBe(true);
  });

  test('reaches each of several clients whole, also when others leave in the middle', async () => {
    const large = randomBytes(9_000_001);
    const digests = [await pushBlob(repository('busy'), content), await pushBlob(repository('busy'), large)];
    const pull = async (digest: string | undefined, leave: boolean): Promise<string | undefined> => {
      const stop = new AbortController();
      const response = await fetch(`${repository('busy')}/blobs/${digest}`, { signal: stop.signal });
      if (!leave) return hashOf(Buffer.from(await response.arrayBuffer()));
      await response.body?.getReader().read();
      stop.abort();
      return undefined;
    };
    const pulls = Array.from({ length: 32 }, (_, index) => pull(digests[index % 2], index % 4 > 1));
    const expected = Array.from({ length: 32 }, (_, index) =>
      index % 4 > 1 ? undefined : digests[index % 2],
    );
    expect(await Promise.all(pulls)).toEqual(expected);
  });

  test('has nothing past its end', async () => {
    const digest = await pushBlob(repository('parts'), content);
    const response = await fetch(`${repository('parts')}/blobs/${digest}`, {
      headers: { range: 'bytes=3000000-' },
    });
    expect(response.headers.get('content-range')).toBe('bytes */3000000');
    expect(await errorOf(response)).toEqual([416, 'SIZE_INVALID']);
  });

  test('is refused under a digest that is not its own, and leaves nothing', async () => {
    const wrong = hashOf('something else');
    const post = await fetch(`${repository('wrong')}/blobs/uploads/?digest=${wrong}`, {
      method: 'POST',
      body: content,
    });
    expect(await errorOf(post)).toEqual([400, 'DIGEST_INVALID']);
    expect((await fetch(`${repository('wrong')}/blobs/${wrong}`, { method: 'HEAD' })).status).toBe(404);
    expect(await readdir(join(registry.storage, 'uploads'))).toEqual([]);
  });

  test('is on the disk once, however many repositories have it, and gone with the last', async () => {
    const digest = await pushBlob(repository('one'), 'shared by two');
    await pushBlob(repository('two'), 'shared by two');
    const file = join(registry.storage, 'blobs', ...digest.split(':'));
    expect((await stat(file)).nlink).toBe(3);
    expect((await fetch(`${repository('one')}/blobs/${digest}`, { method: 'DELETE' })).status).toBe(202);
    expect((await fetch(`${repository('one')}/blobs/${digest}`)).status).toBe(404);
    expect(await (await fetch(`${repository('two')}/blobs/${digest}`)).text()).toBe('shared by two');
    expect((await stat(file)).nlink).toBe(2);
    await fetch(`${repository('two')}/blobs/${digest}`, { method: 'DELETE' });
    await expect(stat(file)).rejects.toThrow('ENOENT');
  });

  test('is mounted from another repository without being sent', async () => {
    const digest = await pushBlob(repository('vendor/driver'), content);
    const mount = `${repository('signed/driver')}/blobs/uploads/?mount=${digest}&from=vendor/driver`;
    const response = await fetch(mount, { method: 'POST' });
    expect([response.status, response.headers.get('location')]).toEqual([
      201,
      `/v2/signed/driver/blobs/${digest}`,
    ]);
    expect((await fetch(`${repository('signed/driver')}/blobs/${digest}`, { method: 'HEAD' })).status).toBe(
      200,
    );
  });

  test('that does not exist is not mounted: a session begins', async () => {
    const mount = `${repository('signed/driver')}/blobs/uploads/?mount=${hashOf('nowhere')}&from=vendor/driver`;
    const response = await fetch(mount, { method: 'POST' });
    expect(response.status).toBe(202);
    expect((await fetch(absolute(response.headers.get('location')), { method: 'DELETE' })).status).toBe(204);
  });
});

async function begin(name: string): Promise<URL> {
  const started = await fetch(`${repository(name)}/blobs/uploads/`, { method: 'POST' });
  return absolute(started.headers.get('location'));
}

const patch = (location: URL, body: Uint8Array | string, range?: string): Promise<Response> =>
  fetch(location, {
    method: 'PATCH',
    body,
    headers: range === undefined ? {} : { 'content-range': range },
  });

describe('an upload in chunks', () => {
  test('takes the chunks in order and says how far it is', async () => {
    const location = await begin('chunks');
    const first = await patch(location, 'hello ', '0-5');
    expect([first.status, first.headers.get('range')]).toEqual([202, '0-5']);
    expect((await patch(location, 'wide ')).headers.get('range')).toBe('0-10');
    const digest = hashOf('hello wide world');
    const put = await fetch(`${location.href}?digest=${digest}`, {
      method: 'PUT',
      body: 'world',
      headers: { 'content-range': '11-15' },
    });
    expect(put.status).toBe(201);
    expect(await (await fetch(`${repository('chunks')}/blobs/${digest}`)).text()).toBe('hello wide world');
    expect(await errorOf(await fetch(location))).toEqual([404, 'BLOB_UPLOAD_UNKNOWN']);
  });

  test('refuses a chunk that is out of order, and continues where it was', async () => {
    const location = await begin('order');
    await patch(location, 'hello ', '0-5');
    const early = await patch(location, 'world', '10-14');
    expect([early.status, early.headers.get('range'), early.headers.get('location')]).toEqual([
      416,
      '0-5',
      location.pathname,
    ]);
    const status = await fetch(location);
    expect([status.status, status.headers.get('range')]).toEqual([204, '0-5']);
    expect((await patch(location, 'world', '6-10')).status).toBe(202);
  });

  test.each(['bytes 0-4', '4-0', '0', 'a-b'])('refuses the content range "%s"', async (range) => {
    expect(await errorOf(await patch(await begin('range'), 'hello', range))).toEqual([
      400,
      'BLOB_UPLOAD_INVALID',
    ]);
  });

  test('refuses a chunk that is not as long as its range', async () => {
    expect(await errorOf(await patch(await begin('length'), 'hello', '0-9'))).toEqual([400, 'SIZE_INVALID']);
  });

  test('keeps what came before the connection broke, so that it can be resumed', async () => {
    const content = randomBytes(4_000_000);
    const location = await begin('broken');
    await new Promise<void>((resolve) => {
      const broken = request(location, { method: 'PATCH', headers: { 'content-length': content.length } });
      broken.once('error', () => resolve());
      broken.write(content.subarray(0, 2_500_000), () => broken.destroy(new Error('broken on purpose')));
    });
    // What was on its way may arrive after the first question; then the answer says where to go on.
    let answer = await fetch(location);
    const starts: number[] = [];
    while (answer.headers.get('range') !== `0-${content.length - 1}` && starts.length < 10) {
      const end = Number(/^0-(\d+)$/.exec(answer.headers.get('range') ?? '')?.[1]);
      const start = end === 0 ? 0 : end + 1;
      starts.push(start);
      answer = await patch(location, content.subarray(start), `${start}-${content.length - 1}`);
    }
    expect(starts.at(-1)).toBe(2_500_000);
    const put = await fetch(`${location.href}?digest=${hashOf(content)}`, { method: 'PUT' });
    expect(put.status).toBe(201);
  });

  test('belongs to its repository', async () => {
    const location = await begin('mine');
    const other = location.href.replace('/mine/', '/yours/');
    expect(await errorOf(await fetch(other))).toEqual([404, 'BLOB_UPLOAD_UNKNOWN']);
  });

  test('can be given up', async () => {
    const location = await begin('given-up');
    await patch(location, 'some bytes');
    expect((await fetch(location, { method: 'DELETE' })).status).toBe(204);
    expect((await fetch(location)).status).toBe(404);
  });
});
