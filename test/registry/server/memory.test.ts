import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sendFile } from '../../../src/registry/server/send-file.ts';
import { storageLayout } from '../../../src/registry/server/storage.ts';
import { UploadSessions } from '../../../src/registry/server/upload-session.ts';
import { finished, startProgram } from '../../cli/run-program.ts';
import { pushBlob } from '../../support/distribution-client.ts';
import { waitFor } from '../../support/wait-for.ts';

const kibibyte = 1024;
const megabyte = 1_000_000;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-registry-memory-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('eight clients push and pull large blobs in little memory', async () => {
  const child = startProgram([
    'registry',
    '--root',
    join(folder, 'root'),
    '--listen',
    '127.0.0.1:0',
    '--format',
    'json',
  ]);
  const [line] = (await once(child.stdout ?? child, 'data')) as [Buffer];
  const base = `${(JSON.parse(line.toString()) as { url: string }).url}/v2/vendor/driver`;
  const contents = Array.from({ length: 8 }, () => randomBytes(24 * megabyte));
  const digests = await Promise.all(contents.map((content) => pushBlob(base, content)));
  const sizes = digests.map(async (digest) => {
    let size = 0;
    const response = await fetch(`${base}/blobs/${digest}`);
    for await (const chunk of response.body ?? []) size += chunk.length;
    return size;
  });
  expect(await Promise.all(sizes)).toEqual(contents.map(({ length }) => length));
  const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
  child.kill();
  await finished(child);
  expect(Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * kibibyte).toBeLessThan(100 * megabyte);
}, 60_000);

test('what an upload has stored is freed', async () => {
  const layout = storageLayout(folder);
  await using sessions = new AsyncDisposableStack();
  const uploads = new UploadSessions({ ...layout, uploadFile: (id) => join(folder, id) });
  sessions.defer(() => uploads.close());
  const chunks = Array.from({ length: 20 }, () => Buffer.allocUnsafeSlow(100 * kibibyte));
  await uploads.start('a').append(Readable.from(chunks));
  expect(chunks.map(({ length }) => length)).toEqual(chunks.map(() => 0));
});

/** A client that asked for a file of this size, and reads nothing of it. */
function startStalledResponse(file: FileHandle, size: number) {
  const response = new ServerResponse(new IncomingMessage(new Socket()));
  let asked = 0;
  const watched = Object.assign(Object.create(file) as FileHandle, {
    read: (buffer: Buffer, offset: number, length: number, position: number) => {
      asked += length;
      return file.read(buffer, offset, length, position);
    },
  });
  const sending = sendFile(watched, { start: 0, end: size - 1 }, response);
  sending.catch(() => {});
  return { response, sending, asked: () => asked };
}

test('clients that do not read cost little each, and nothing once they are gone', async () => {
  const path = join(folder, 'blob');
  const size = 2 * megabyte;
  await writeFile(path, Buffer.alloc(size));
  await using file = await open(path);
  for (let round = 0; round < 2; round += 1) {
    const stalled = Array.from({ length: 12 }, () => startStalledResponse(file, size));
    // Of each, two buffers are full: of the first eight, two large ones.
    const expected = stalled.map((_, index) => 2 * (index < 8 ? 256 : 64) * kibibyte);
    await waitFor(() => expect(stalled.map(({ asked }) => asked())).toEqual(expected), {
      timeout: 30_000,
      interval: 10,
    });
    for (const { response } of stalled) response.emit('close');
    for (const { sending } of stalled) await expect(sending).rejects.toThrow('the connection was closed');
  }
});
