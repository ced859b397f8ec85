import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { storageLayout } from '../../../src/registry/server/storage.ts';
import { UploadSessions } from '../../../src/registry/server/upload-session.ts';
import { hashOf } from '../../support/distribution-client.ts';
import { startEmbedded } from '../../support/registries.ts';
import { waitFor } from '../../support/wait-for.ts';

const pollOptions = { timeout: 30_000, interval: 10 };
const hour = 60 * 60 * 1000;

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'kmm-sign-test-uploads-'));
  await mkdir(join(root, 'uploads'));
});
afterEach(async () => {
  vi.useRealTimers();
  await rm(root, { recursive: true, force: true });
});

function chunks(...content: string[]): Readable {
  return Readable.from(content.map((chunk) => Buffer.from(chunk)));
}

test('an upload that was idle for an hour frees its bytes, without another request', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'Date'] });
  const sessions = new UploadSessions(storageLayout(root));
  const idle = sessions.start('a');
  await idle.append(chunks('idle'));
  vi.advanceTimersByTime(hour / 2);
  const used = sessions.start('a');
  await used.append(chunks('used'));
  const open = sessions.start('a');
  const ended = Promise.withResolvers<void>();
  const receiving = open.append(
    Readable.from(
      (async function* () {
        yield Buffer.from('open');
        await ended.promise;
      })(),
    ),
  );
  vi.advanceTimersByTime(hour / 2 + 2 * 60_000);
  await waitFor(async () => expect(await readdir(join(root, 'uploads'))).toEqual([used.id]), pollOptions);
  expect(sessions.find('a', idle.id)).toBeUndefined();
  // One that is receiving is never idle, however long that takes.
  vi.advanceTimersByTime(hour);
  expect(sessions.find('a', open.id)).toBe(open);
  ended.resolve();
  await receiving;
  await waitFor(async () => expect(await readdir(join(root, 'uploads'))).toEqual([open.id]), pollOptions);
  await sessions.close();
  expect(await readdir(join(root, 'uploads'))).toEqual([]);
});

/** Sends a part of what it promises and breaks the connection when the registry has begun to store it. */
async function breakOff(url: string, method: string, storage: string): Promise<void> {
  const sent = request(url, { method, headers: { 'content-length': 8_000_000 } });
  sent.on('error', () => {});
  sent.write(Buffer.alloc(4_000_000));
  await waitFor(async () => expect(await readdir(join(storage, 'uploads'))).toHaveLength(1), pollOptions);
  const closed = new Promise((resolve) => {
    sent.once('close', resolve);
  });
  sent.destroy();
  await closed;
}

test('an upload in one request whose client went away leaves nothing', async () => {
  await using registry = await startEmbedded();
  const url = `${registry.url}/v2/a/blobs/uploads/?digest=${hashOf('never')}`;
  await breakOff(url, 'POST', registry.storage);
  await waitFor(
    async () => expect(await readdir(join(registry.storage, 'uploads'))).toEqual([]),
    pollOptions,
  );
});

test('an upload in parts whose client went away can be resumed', async () => {
  await using registry = await startEmbedded();
  const started = await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: 'POST' });
  const location = new URL(started.headers.get('location') ?? '', registry.url);
  await breakOff(location.href, 'PATCH', registry.storage);
  // Waits for the turn after the broken request.
  const [, last] = ((await fetch(location)).headers.get('range') ?? '').split('-');
  const size = Number(last) + 1;
  expect(size).toBeGreaterThan(1);
  const digest = hashOf(Buffer.concat([Buffer.alloc(size), Buffer.from('end')]));
  location.searchParams.set('digest', digest);
  expect((await fetch(location, { method: 'PUT', body: 'end' })).status).toBe(201);
});

test('an upload that was cancelled is over for requests that waited for their turn, too', async () => {
  await using registry = await startEmbedded();
  const started = await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: 'POST' });
  const location = new URL(started.headers.get('location') ?? '', registry.url);
  const sent = request(location, { method: 'PATCH', headers: { 'content-length': 2_000_000 } });
  sent.on('response', (response) => response.resume());
  sent.write(Buffer.alloc(1_500_000));
  await waitFor(
    async () => expect(await readdir(join(registry.storage, 'uploads'))).toHaveLength(1),
    pollOptions,
  );
  const waiting = [1, 2].map(async () => (await fetch(location, { method: 'DELETE' })).status);
  // They have arrived when a later request is answered.
  await fetch(`${registry.url}/v2/`);
  sent.end(Buffer.alloc(500_000));
  expect((await Promise.all(waiting)).map(String).toSorted()).toEqual(['204', '404']);
  expect(await readdir(join(registry.storage, 'uploads'))).toEqual([]);
});
