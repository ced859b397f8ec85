/** Debian's docker-registry on loopback, its storage, and putting that storage back after a run. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Registry extends AsyncDisposable {
  /** Host and port, as in a reference. */
  readonly host: string;
  readonly storage: string;
}

/** A certificate and its key, as files. */
export interface ServerKey {
  readonly cert: string;
  readonly key: string;
}

/**
 * Starts the registry; without a descriptor cache, since its storage is changed under it between runs.
 * @param tls speak TLS with this certificate
 */
export async function startRegistry(storage: string, tls?: ServerKey): Promise<Registry> {
  await mkdir(storage, { recursive: true });
  const port = await freePort();
  const configuration = `${storage}${tls === undefined ? '' : '-tls'}.yml`;
  await writeFile(
    configuration,
    JSON.stringify({
      version: '0.1',
      log: { level: 'error', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
      http: {
        addr: `127.0.0.1:${port}`,
        ...(tls === undefined ? {} : { tls: { certificate: tls.cert, key: tls.key } }),
      },
    }),
  );
  const server = spawn('docker-registry', ['serve', configuration], {
    stdio: 'ignore',
  });
  const host = `127.0.0.1:${port}`;
  await listening(port, server);
  return { host, storage, [Symbol.asyncDispose]: () => ended(server) };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => void server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

async function listening(port: number, server: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    if (server.exitCode !== null) break;
    const socket = connect(port, '127.0.0.1');
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    await sleep(50);
  }
  throw new Error('docker-registry does not start');
}

async function ended(server: ChildProcess): Promise<void> {
  const end = new Promise((resolve) => void server.once('close', resolve));
  server.kill('SIGTERM');
  await end;
}

export interface Blob {
  readonly digest: string;
  readonly size: number;
  readonly content: string | { readonly file: string };
}

/** Uploads a blob unless the registry has it. */
export async function pushBlob(host: string, repository: string, blob: Blob): Promise<void> {
  const blobs = `http://${host}/v2/${repository}/blobs/`;
  if ((await fetch(blobs + blob.digest, { method: 'HEAD' })).ok) return;
  const session = await fetch(`${blobs}uploads/`, { method: 'POST' });
  const location = new URL(session.headers.get('location') ?? '', `http://${host}`);
  location.searchParams.set('digest', blob.digest);
  const answer = await fetch(location, {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream', 'content-length': String(blob.size) },
    body:
      typeof blob.content === 'string'
        ? blob.content
        : (Readable.toWeb(createReadStream(blob.content.file, { highWaterMark: 1 << 20 })) as ReadableStream),
    duplex: 'half',
  });
  if (answer.status !== 201)
    throw new Error(`${repository}: ${blob.digest} was answered with ${answer.status}`);
}

/** Puts a manifest under a tag. */
export async function pushManifest(
  host: string,
  repository: string,
  manifest: { readonly tag: string; readonly mediaType: string; readonly body: string },
): Promise<void> {
  const answer = await fetch(`http://${host}/v2/${repository}/manifests/${manifest.tag}`, {
    method: 'PUT',
    headers: { 'content-type': manifest.mediaType },
    body: manifest.body,
  });
  if (answer.status !== 201)
    throw new Error(`${repository}:${manifest.tag} was answered with ${answer.status}`);
}

/** What the storage holds now, so that `restore` can delete what came later. */
export async function snapshot(storage: string): Promise<ReadonlySet<string>> {
  return new Set(await readdir(storage, { recursive: true }));
}

/** Deletes every file and folder that is not in the snapshot. */
export async function restore(storage: string, kept: ReadonlySet<string>): Promise<void> {
  for (const path of await readdir(storage, { recursive: true })) {
    if (!kept.has(path)) await rm(join(storage, path), { recursive: true, force: true });
  }
}

/** Reads every blob once, so that the first run does not pay for the disk. */
export async function warm(storage: string): Promise<void> {
  for (const path of await readdir(storage, { recursive: true })) {
    if (path.endsWith('/data') && (await stat(join(storage, path))).isFile()) {
      await createReadStream(join(storage, path), { highWaterMark: 1 << 20 }).forEach(() => undefined);
    }
  }
}
