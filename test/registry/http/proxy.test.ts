import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { proxyFor } from '../../../src/registry/http/proxy.ts';
import { createAuthority, type TestAuthority } from '../../support/certificates.ts';
import { startForwardProxy, type ForwardProxy } from '../../support/forward-proxy.ts';
import { describeWith } from '../../support/programs.ts';
import { portOf } from '../../support/token-server.ts';
import { connect, rejection, startServer } from './local-server.ts';

const proxy = 'http://proxy.example:3128/';

/** Where a registry is reached, with a NO_PROXY. */
function through(url: string, exceptions: string): string | null {
  return (
    proxyFor(new URL(url), { HTTP_PROXY: proxy, HTTPS_PROXY: proxy, NO_PROXY: exceptions })?.href ?? null
  );
}

describe('NO_PROXY', () => {
  // As golang.org/x/net/http/httpproxy has it, and with it skopeo, docker and OpenShift's cluster proxy.
  it.each([
    ['example.com', 'https://example.com'],
    ['example.com', 'https://registry.example.com'],
    ['EXAMPLE.com', 'https://Registry.Example.COM:5000'],
    ['example.com', 'https://example.com.'],
    ['.example.com', 'https://registry.example.com'],
    ['*.example.com', 'https://a.registry.example.com'],
    ['other.test, example.com', 'https://example.com'],
    ['other.test example.com', 'https://example.com'],
    ['example.com:5000', 'https://example.com:5000'],
    ['example.com:443', 'https://example.com'],
    ['example.com:80', 'http://example.com'],
    ['*', 'https://example.com'],
    ['10.1.2.3', 'https://10.1.2.3:5000'],
    ['10.1.2.3:5000', 'https://10.1.2.3:5000'],
    ['10.0.0.0/8', 'https://10.1.2.3'],
    ['10.1.2.3', 'https://[::ffff:10.1.2.3]'],
    ['fd00::/8', 'https://[fd12::1]:5000'],
    ['FD12::1', 'https://[fd12:0::1]'],
    ['[fd12::1]:5000', 'https://[fd12::1]:5000'],
    ['', 'https://localhost:5000'],
    ['', 'https://127.0.0.1'],
    ['', 'https://127.9.9.9'],
    ['', 'https://[::1]:5000'],
  ])('%j lets go directly to %s', (exceptions, url) => {
    expect(through(url, exceptions)).toBeNull();
  });

  it.each([
    ['', 'https://example.com'],
    ['example.com', 'https://notexample.com'],
    ['.example.com', 'https://example.com'],
    ['*.example.com', 'https://example.com'],
    ['example.com:5000', 'https://example.com:5001'],
    ['example.com:5000', 'https://example.com'],
    ['registry.example.com', 'https://example.com'],
    ['10.0.0.0/8', 'https://11.1.2.3'],
    ['10.0.0.0/33', 'https://10.1.2.3'],
    ['10.0.0.0/8', 'https://[fd12::1]'],
    ['10.1.2.3:5000', 'https://10.1.2.3'],
    ['1.2.3', 'https://10.1.2.3'],
    ['10.0.0.0/8', 'https://10.example.com'],
    ['fd00::/8', 'https://[fe00::1]'],
    [', ,', 'https://example.com'],
  ])('%j leaves %s to the proxy', (exceptions, url) => {
    expect(through(url, exceptions)).toBe(proxy);
  });
});

const of = (url: string, environment: Record<string, string>): string | null =>
  proxyFor(new URL(url), environment)?.href ?? null;

describe('the variables of a proxy', () => {
  it('are by the scheme of the URL, in upper case and in lower case', () => {
    expect(of('https://r.example', { HTTP_PROXY: proxy })).toBeNull();
    expect(of('http://r.example', { HTTPS_PROXY: proxy })).toBeNull();
    expect(of('https://r.example', { https_proxy: proxy })).toBe(proxy);
    expect(of('http://r.example', { http_proxy: proxy })).toBe(proxy);
    expect(of('https://r.example', { HTTPS_PROXY: proxy, https_proxy: 'http://other.example' })).toBe(proxy);
    expect(of('https://r.example', { HTTPS_PROXY: '', https_proxy: proxy })).toBe(proxy);
    expect(of('https://r.example', { HTTPS_PROXY: proxy, no_proxy: 'r.example' })).toBeNull();
  });

  it.each([
    ['proxy.example:3128', 'http://proxy.example:3128/'],
    ['10.0.0.1:3128', 'http://10.0.0.1:3128/'],
    ['alice:secret@proxy.example:3128', 'http://alice:secret@proxy.example:3128/'],
    ['https://proxy.example', 'https://proxy.example/'],
  ])('may be %s', (value, url) => {
    expect(of('https://r.example', { HTTPS_PROXY: value })).toBe(url);
  });

  it.each([
    ['socks5://alice:secret@proxy.example', /^HTTPS_PROXY names a socks5 proxy, which is not supported$/],
    ['socks5h://proxy.example', /socks5h/],
    ['http://', /^HTTPS_PROXY is not the URL of a proxy$/],
  ])('are refused by name: %s', async (value, message) => {
    await using client = connect('r.example', { environment: { HTTPS_PROXY: value } });
    const error = await rejection(client.transport({ method: 'GET', url: client.url('') }));
    expect(error).toMatchObject({
      code: 'INVALID_CONFIGURATION',
      message: expect.stringMatching(message),
      hint: expect.stringContaining('NO_PROXY'),
    });
    expect(JSON.stringify(error)).not.toContain('secret');
  });
});

describeWith(['openssl', 'squid'], 'a forward proxy', () => {
  const name = 'registry.test';
  let directory = '';
  let authority: TestAuthority;
  let forward: ForwardProxy;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-proxied-'));
    authority = await createAuthority(directory);
    forward = await startForwardProxy([name]);
  });
  afterAll(async () => {
    await forward[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  it.each(['https_proxy', 'HTTPS_PROXY'])(
    'is tunnelled through to a registry with TLS (%s)',
    async (variable) => {
      const files = await authority.issueServer(variable, `DNS:${name}`);
      const [cert, key] = [await readFile(files.certificate), await readFile(files.key)];
      const server = createServer({ cert, key }, (_, response) => response.end());
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const registry = `${name}:${portOf(server)}`;
      {
        await using client = connect(registry, {
          environment: { [variable]: forward.host },
          caFiles: [authority.certificate],
        });
        const response = await client.transport({ method: 'GET', url: client.url('') });
        response.body.destroy();
        expect(response.status).toBe(200);
      }
      server.close();
      server.closeAllConnections();
      await expect.poll(() => forward.asked()).toContain(`CONNECT ${registry}`);
    },
  );

  it('is tunnelled through also when it takes all authorities to know the registry', async () => {
    const before = getCACertificates('default');
    setDefaultCACertificates([...before, await readFile(authority.certificate, 'latin1')]);
    const stranger = await createAuthority(join(directory, 'stranger'));
    const files = await authority.issueServer('known', `DNS:${name}`);
    const [cert, key] = [await readFile(files.certificate), await readFile(files.key)];
    const server = createServer({ cert, key }, (request, response) => request.pipe(response));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    {
      await using client = connect(`${name}:${portOf(server)}`, {
        environment: { HTTPS_PROXY: forward.host },
        caFiles: [stranger.certificate],
      });
      const body = Buffer.from('once and whole');
      const response = await client.transport({ method: 'POST', url: client.url(''), body });
      expect(await text(response.body)).toBe('once and whole');
    }
    setDefaultCACertificates(before);
    server.close();
    server.closeAllConnections();
  });

  it('is used for a registry without TLS, and not for one that NO_PROXY names', async () => {
    await using server = await startServer((_, response) => response.end());
    const registry = server.host.replace('127.0.0.1', name);
    const visit = async (exceptions: string): Promise<unknown> => {
      const environment = { HTTP_PROXY: `http://${forward.host}`, NO_PROXY: exceptions };
      await using client = connect(registry, { environment, plainHttp: true, retries: 0 });
      const response = await client.transport({ method: 'GET', url: client.url('') });
      response.body.destroy();
      return response.status;
    };
    expect(await visit('')).toBe(200);
    await expect.poll(() => forward.asked()).toContain(`GET http://${registry}/v2/`);
    expect(await rejection(visit('.test'))).toMatchObject({
      code: 'NETWORK',
      facts: { reason: expect.stringMatching(/^(?:ENOTFOUND|EAI_AGAIN)$/) },
    });
  });
});
