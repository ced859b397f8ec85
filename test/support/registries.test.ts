import { request as requestPlain } from 'node:http';
import { request as requestTls } from 'node:https';
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { faults, startFaultProxy } from './fault-proxy.ts';
import { describeEachRegistry, startEmbedded, testUser, type TestRegistry } from './registries.ts';

async function statusOf(registry: TestRegistry, authorization?: string): Promise<number | undefined> {
  const ca = registry.caFile === undefined ? undefined : await readFile(registry.caFile);
  const headers = authorization === undefined ? {} : { authorization };
  return new Promise((resolve, reject) => {
    const sent =
      ca === undefined
        ? requestPlain(`${registry.url}/v2/`, { headers })
        : requestTls(`${registry.url}/v2/`, { headers, ca });
    sent.once('response', (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.once('error', reject);
    sent.end();
  });
}

const basic = `Basic ${Buffer.from(`${testUser.username}:${testUser.password}`).toString('base64')}`;

describeEachRegistry('a registry for tests', (start) => {
  test('lets everybody in', async () => {
    await using registry = await start();
    expect(await statusOf(registry)).toBe(200);
  });

  test('asks for a user and password over TLS', async () => {
    await using registry = await start({ authentication: 'basic', tls: true });
    expect(await statusOf(registry)).toBe(401);
    expect(await statusOf(registry, `Basic ${Buffer.from('tester:wrong').toString('base64')}`)).toBe(401);
    expect(await statusOf(registry, basic)).toBe(200);
  });
});

async function repositoryWithTag(registry: TestRegistry): Promise<string> {
  const put = await fetch(`${registry.url}/v2/a/manifests/latest`, {
    method: 'PUT',
    headers: { 'content-type': 'application/vnd.oci.image.index.v1+json' },
    body: JSON.stringify({ schemaVersion: 2, manifests: [] }),
  });
  expect(put.status).toBe(201);
  return '/v2/a/tags/list';
}

describe('the fault proxy', () => {
  test('passes requests on and counts their bytes', async () => {
    await using registry = await startEmbedded();
    await using proxy = await startFaultProxy({ target: registry.url });
    const path = await repositoryWithTag({ ...registry, url: proxy.url });
    expect(await (await fetch(`${proxy.url}${path}`)).json()).toEqual({ name: 'a', tags: ['latest'] });
    expect(proxy.requests).toMatchObject([
      { method: 'PUT', path: '/v2/a/manifests/latest', status: 201, bytesUp: 34 },
      { method: 'GET', path, status: 200, bytesDown: 30 },
    ]);
  });

  test.each(Object.entries(faults))(
    'breaks the request that it is told to break: %s',
    async (_name, fault) => {
      await using registry = await startEmbedded();
      await using proxy = await startFaultProxy({ target: registry.url });
      const path = await repositoryWithTag(registry);
      const right = await (await fetch(`${registry.url}${path}`)).text();
      proxy.breakAt(1, fault);
      const seen: string[] = [];
      for (let position = 0; position < 3; position += 1) {
        seen.push(
          await fetch(`${proxy.url}${path}`).then(
            async (response) =>
              response.ok ? response.text().catch(() => 'broken') : String(response.status),
            () => 'broken',
          ),
        );
      }
      expect([seen[0], seen[2]]).toEqual([right, right]);
      expect(seen[1]).not.toBe(right);
      expect(proxy.requests.map((request) => request.fault)).toEqual([undefined, fault, undefined]);
    },
  );
});
