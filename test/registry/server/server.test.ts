import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRegistry } from '../../../src/registry/server/server.ts';
import { Secret } from '../../../src/shared/secret.ts';
import {
  describeContent,
  hashOf,
  mediaType,
  pushBlob,
  pushManifest,
} from '../../support/distribution-client.ts';
import { startProcess, type RunningProcess } from '../../support/processes.ts';
import { describeWith } from '../../support/programs.ts';
import { startEmbedded, type TestRegistry } from '../../support/registries.ts';

const run = promisify(execFile);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-server-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Sends a request whose path is exactly `path`: URL would tidy it up. */
async function rawStatus(registry: TestRegistry, method: string, path: string): Promise<number | undefined> {
  const [host, port] = registry.host.split(':');
  const sent = request({ host, port, method, path }).end(method === 'GET' ? undefined : 'bytes');
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  response.resume();
  return response.statusCode;
}

describe('a hostile path', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startEmbedded();
    await writeFile(join(registry.storage, '..', 'secret'), 'not for the world');
  });
  afterAll(() => registry.close());

  test.each([
    '/v2/../secret/blobs/uploads/',
    '/v2/%2e%2e/%2e%2e/secret/manifests/latest',
    '/v2/a/../../secret/tags/list',
    '/v2/a%2F..%2F..%2Fsecret/tags/list',
    '/v2/a/manifests/..%2F..%2F..%2Fsecret',
    '/v2/a/manifests/%2e%2e',
    '/v2/a/blobs/sha256:../../../../secret',
    '/v2/a/blobs/uploads/..%2F..%2Fsecret',
    '/v2/a/blobs/uploads/%00',
    '/v2/_tags/x/tags/list',
    '/v2/a/_blobs/tags/list',
    '/v2/A/tags/list',
    '/v2/%zz/tags/list',
    `/v2/${'a/'.repeat(200)}a/tags/list`,
    '/v2/a/referrers/latest',
    '/etc/passwd',
    '/v2',
  ])('reaches nothing: %s', async (path) => {
    for (const method of ['GET', 'PUT', 'POST', 'PATCH', 'DELETE']) {
      const status = await rawStatus(registry, method, path);
      expect(path === '/v2' && method === 'GET' ? [200] : [400, 404, 405]).toContain(status);
    }
    expect(await readdir(join(registry.storage, 'repositories'))).toEqual([]);
    expect(await readFile(join(registry.storage, '..', 'secret'), 'utf8')).toBe('not for the world');
  });
});

const authorization = (user: string, password: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});

describe('a password', () => {
  test('is required on every path, and only the right one is accepted', async () => {
    const registry = await startRegistry({
      root: join(folder, 'password'),
      basicAuth: { user: 'operator', password: new Secret('a:b c') },
    });
    try {
      const status = async (headers: Record<string, string>): Promise<unknown> => {
        const response = await fetch(`${registry.url}/v2/`, { headers });
        return [response.status, response.headers.get('www-authenticate')?.split(' ')[0]];
      };
      expect(await status({})).toEqual([401, 'Basic']);
      expect(await status(authorization('operator', 'a:b'))).toEqual([401, 'Basic']);
      expect(await status(authorization('somebody', 'a:b c'))).toEqual([401, 'Basic']);
      expect(await status({ authorization: 'Bearer operator' })).toEqual([401, 'Basic']);
      expect(await status(authorization('operator', 'a:b c'))).toEqual([200, undefined]);
      const upload = await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: 'POST' });
      expect(upload.status).toBe(401);
    } finally {
      await registry.close();
    }
  });

  test('file that is not one of bcrypt hashes is refused by its line', async () => {
    const htpasswd = join(folder, 'htpasswd');
    await writeFile(htpasswd, '# users\nsomebody:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n');
    await expect(
      startRegistry({ root: join(folder, 'refused'), basicAuth: { htpasswd } }),
    ).rejects.toMatchObject({
      code: 'INVALID_CONFIGURATION',
      message: `Line 2 of ${htpasswd} is not a user with a bcrypt hash`,
    });
  });
});

test('an address that is taken is an error that names it', async () => {
  await using first = await startEmbedded();
  const port = Number(first.host.split(':')[1]);
  await expect(startRegistry({ root: join(folder, 'second'), port })).rejects.toMatchObject({
    code: 'NETWORK',
    facts: { host: '127.0.0.1', port },
  });
});

describe('a registry that is killed', () => {
  const program = `
    import { startRegistry } from ${JSON.stringify(new URL('../../../src/registry/server/server.ts', import.meta.url).href)};
    const registry = await startRegistry({ root: process.argv[1] });
    console.log(registry.url);
  `;

  async function start(root: string, log: string): Promise<{ url: string; child: RunningProcess }> {
    const child = startProcess(process.execPath, ['--input-type=module', '--eval', program, root], { log });
    while (!child.exited) {
      const url = /^http:\S+$/m.exec(child.output())?.[0];
      if (url !== undefined) return { url, child };
      await new Promise((resolve) => setImmediate(resolve));
    }
    throw new Error(child.output());
  }

  test('in the middle of an upload has what was finished, and nothing of what was not', async () => {
    const root = join(folder, 'killed');
    const layer = randomBytes(1_000_000);
    const first = await start(root, join(folder, 'first.log'));
    const base = `${first.url}/v2/vendor/driver`;
    await pushBlob(base, '{}');
    await pushBlob(base, layer);
    const document = {
      schemaVersion: 2,
      mediaType: mediaType.manifest,
      config: describeContent(mediaType.config, '{}'),
      layers: [{ mediaType: mediaType.layer, digest: hashOf(layer), size: layer.length }],
    };
    await pushManifest(base, { reference: 'latest', type: mediaType.manifest, document });
    const started = await fetch(`${base}/blobs/uploads/`, { method: 'POST' });
    const location = started.headers.get('location') ?? '';
    const patched = await fetch(new URL(location, first.url), { method: 'PATCH', body: layer });
    expect(patched.status).toBe(202);
    expect(await readdir(join(root, 'uploads'))).toHaveLength(1);
    await first.child.stop('SIGKILL');

    const second = await start(root, join(folder, 'second.log'));
    try {
      expect(await readdir(join(root, 'uploads'))).toEqual([]);
      expect((await fetch(new URL(location, second.url))).status).toBe(404);
      const again = `${second.url}/v2/vendor/driver`;
      expect(await (await fetch(`${again}/manifests/latest`)).json()).toEqual(document);
      const blob = await fetch(`${again}/blobs/${hashOf(layer)}`);
      expect(Buffer.from(await blob.arrayBuffer()).equals(layer)).toBe(true);
    } finally {
      await second.child.stop();
    }
  });
});

describeWith(['skopeo', 'umoci', 'tar'], 'an image that other programs made', ({ skopeo, umoci, tar }) => {
  test.each(['oci', 'v2s2'])('is stored and returned unchanged, as %s', async (format) => {
    await using registry = await startEmbedded();
    const layout = join(folder, `layout-${format}`);
    await run(umoci, ['init', '--layout', layout]);
    await run(umoci, ['new', '--image', `${layout}:made`]);
    await run(tar, ['--create', '--file', join(folder, 'layer.tar'), '--directory', '/etc', 'os-release']);
    await run(umoci, ['raw', 'add-layer', '--image', `${layout}:made`, join(folder, 'layer.tar')]);
    const there = `docker://${registry.host}/vendor/driver:1`;
    await run(skopeo, ['copy', '--dest-tls-verify=false', '--format', format, `oci:${layout}:made`, there]);
    const copy = `docker://${registry.host}/signed/driver:1`;
    await run(skopeo, ['copy', '--src-tls-verify=false', '--dest-tls-verify=false', there, copy]);
    const back = join(folder, `back-${format}`);
    await run(skopeo, ['copy', '--src-tls-verify=false', copy, `dir:${back}`]);
    const manifest = await readFile(join(back, 'manifest.json'));
    const stored = await fetch(`${registry.url}/v2/vendor/driver/manifests/1`);
    expect(stored.headers.get('content-type')).toBe(
      format === 'oci' ? mediaType.manifest : mediaType.dockerManifest,
    );
    expect(Buffer.from(await stored.arrayBuffer()).equals(manifest)).toBe(true);
    const { layers } = JSON.parse(manifest.toString()) as { layers: { digest: string }[] };
    for (const { digest } of layers) expect(hashOf(await readFile(join(back, digest.slice(7))))).toBe(digest);
    const tags = await run(skopeo, [
      'list-tags',
      '--tls-verify=false',
      `docker://${registry.host}/signed/driver`,
    ]);
    expect(JSON.parse(tags.stdout)).toMatchObject({ Tags: ['1'] });
  });
});
