import { randomBytes } from 'node:crypto';
import { spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RegistryClient } from '../../src/registry/image/client.ts';
import { finished, runProgram, startProgram } from '../cli/run-program.ts';
import { storeImage, withParents } from '../support/images.ts';
import { hashOf, mediaType, pushBlob } from '../support/distribution-client.ts';
import { findProgram } from '../support/programs.ts';
import { startEmbedded, type TestRegistry } from '../support/registries.ts';
import { createTestKey, helloModule, type TestKey } from '../support/signing.ts';

/** Runs a command on a file system of $SIZE that nobody else sees; 99 when it leaves something there. */
const onSmallDisk = `
mount -t tmpfs -o "size=$SIZE" none "$TMPDIR"
"$@"
status=$?
test -z "$(ls -A "$TMPDIR")" || exit 99
exit $status`;

/** Why this process may not mount; null when it may. */
const whyNoMount = ((): string | null => {
  const unshare = findProgram('unshare');
  if (unshare === undefined) return ' [unshare is missing: Debian package util-linux]';
  const script = ['--mount', 'sh', '-c', 'mount -t tmpfs none "$1"', 'sh', tmpdir()];
  return spawnSync(unshare, script, { stdio: 'ignore' }).status === 0 ? null : ' [mounting is not allowed]';
})();

/** The status and, of an error, the message. */
async function send(location: URL | string, method: string, body: Buffer | string): Promise<string> {
  const response = await fetch(location, { method, body });
  const message = /"message":"([^"]*)"/.exec(await response.text())?.[1] ?? '';
  return `${response.status} ${message}`;
}

const full = "507 the registry's disk is full";

/** Serves $ROOT, a file system of $SIZE that nobody else sees. */
const serveSmallDisk = 'mkdir -p "$ROOT"; mount -t tmpfs -o "size=$SIZE" none "$ROOT"; exec "$@"';

describe.skipIf(whyNoMount !== null)(`the embedded registry on a full disk${whyNoMount ?? ''}`, () => {
  const megabyte = 1024 * 1024;
  let folder: string;
  let child: ChildProcess;
  let base: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-disk-'));
    const root = join(folder, 'root');
    child = startProgram(['registry', '--root', root, '--listen', '127.0.0.1:0', '--format', 'json'], {
      env: { ROOT: root, SIZE: '8m' },
      through: [findProgram('unshare') ?? '', '--mount', 'sh', '-c', serveSmallDisk, 'sh'],
    });
    const [line] = (await once(child.stdout ?? child, 'data')) as [Buffer];
    base = `${(JSON.parse(line.toString()) as { url: string }).url}/v2/vendor/driver`;
  });

  afterAll(async () => {
    child.kill();
    await finished(child);
    await rm(folder, { recursive: true, force: true });
  });

  async function startUpload(): Promise<URL> {
    const started = await fetch(`${base}/blobs/uploads/`, { method: 'POST' });
    return new URL(started.headers.get('location') ?? '', base);
  }

  /** The names of uploads in the file system that only the registry sees. */
  const uploads = (): Promise<string[]> =>
    readdir(join(`/proc/${child.pid}/root`, folder, 'root', 'uploads'));

  test('says so at every failure, and has room again after each', async () => {
    await pushBlob(base, randomBytes(3 * megabyte));
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const location = await startUpload();
      expect(await send(location, 'PATCH', randomBytes(6 * megabyte))).toBe(full);
      expect(await uploads()).toEqual([]);
      // The session is over, and says so.
      expect((await fetch(location)).status).toBe(404);
      expect(await send(location, 'PATCH', 'more')).toBe('404 the upload does not exist');
    }
    const large = randomBytes(6 * megabyte);
    const whole = await startUpload();
    whole.searchParams.set('digest', hashOf(large));
    expect(await send(whole, 'PUT', large)).toBe(full);
    expect(await send(`${base}/blobs/uploads/?digest=${hashOf(large)}`, 'POST', large)).toBe(full);
    expect(await uploads()).toEqual([]);
    await pushBlob(base, randomBytes(4 * megabyte));
  });

  test('keeps an upload that fitted so far, and takes manifests again once there is room', async () => {
    const config = await pushBlob(base, '{}');
    const location = await startUpload();
    // What is left of the 8 MiB but for less than a page.
    let size = megabyte;
    while (size >= 4096) {
      const attempt = await startUpload();
      const status = await send(attempt, 'PATCH', randomBytes(size));
      if (status === full) size /= 2;
    }
    expect(await send(location, 'PATCH', 'more')).toBe(full);
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaType.manifest,
      config: { mediaType: mediaType.config, digest: config, size: 2 },
      layers: [],
    });
    const put = (): Promise<Response> =>
      fetch(`${base}/manifests/1.0`, {
        method: 'PUT',
        headers: { 'content-type': mediaType.manifest },
        body: manifest,
      });
    expect((await put()).status).toBe(507);
    expect((await fetch(`${base}/manifests/1.0`)).status).toBe(404);
    for (const session of await uploads()) {
      expect((await fetch(`${base}/blobs/uploads/${session}`, { method: 'DELETE' })).status).toBe(204);
    }
    expect((await put()).status).toBe(201);
    expect(await (await fetch(`${base}/manifests/1.0`)).text()).toBe(manifest);
  });
});

describe('a temporary directory that cannot be used', () => {
  let folder: string;
  let registry: TestRegistry;
  let key: TestKey;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-disk-'));
    registry = await startEmbedded();
    key = await createTestKey(folder);
    const client = new RegistryClient({ plainHttp: true, credentials: {} });
    const source = client.repository({ registry: registry.host, repository: 'vendor/driver' });
    const entries = [
      ...withParents('m/a.ko', await helloModule),
      { name: 'm/firmware', content: randomBytes(300_000) },
    ];
    await storeImage(source, { layers: [{ entries }] }, '1.0');
    await client.close();
  });

  afterAll(async () => {
    await registry.close();
    await rm(folder, { recursive: true, force: true });
  });

  const signArguments = (tag: string, mode: string) =>
    [
      ['sign', `${registry.host}/vendor/driver:1.0`, `${registry.host}/vendor/driver:${tag}`],
      ['--plain-http', '--format', 'json', '--quiet', '--mode', mode],
      ['--key', key.key, '--cert', key.certificate],
    ].flat();

  async function tagExists(tag: string): Promise<boolean> {
    const { exitCode } = await runProgram([
      'exists',
      `${registry.host}/vendor/driver:${tag}`,
      '--plain-http',
    ]);
    expect([0, 3]).toContain(exitCode);
    return exitCode === 0;
  }

  test('is named when it does not exist', async () => {
    const missing = join(folder, 'missing');
    const { exitCode, stderr } = await runProgram(signArguments('missing', 'rewrite'), {
      env: { TMPDIR: missing },
    });
    expect(exitCode).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: 'FILE_ERROR', facts: { path: missing, reason: 'ENOENT' } },
    });
    expect(await tagExists('missing')).toBe(false);
  });

  // Room for nothing, for the module, and for one copy of the layer but not for the second.
  test.skipIf(whyNoMount !== null).each([
    ['rewrite', '4k'],
    ['rewrite', '64k'],
    ['rewrite', '500k'],
    ['append', '4k'],
  ])(`is named when it is full (%s, %s)${whyNoMount ?? ''}`, async (mode, size) => {
    const tiny = join(folder, `${mode}-${size}`);
    await mkdir(tiny);
    const tag = `full-${mode}-${size}`;
    const child = startProgram(signArguments(tag, mode), {
      env: { TMPDIR: tiny, SIZE: size },
      through: [findProgram('unshare') ?? '', '--mount', 'sh', '-c', onSmallDisk, 'sh'],
    });
    const { exitCode, stderr } = await finished(child);
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('FILE_ERROR')]);
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: 'FILE_ERROR', facts: { path: tiny, reason: 'ENOSPC' } },
    });
    expect(await tagExists(tag)).toBe(false);
  });
});
