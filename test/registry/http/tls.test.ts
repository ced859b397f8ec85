import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { getCACertificates, setDefaultCACertificates, TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { certificateDirectories, readTlsMaterial } from '../../../src/registry/http/certificate-files.ts';
import type { RegistryOptions } from '../../../src/registry/http/registry-transport.ts';
import { createAuthority, type CertificateFiles, type TestAuthority } from '../../support/certificates.ts';
import { describeWith } from '../../support/programs.ts';
import { portOf } from '../../support/token-server.ts';
import { connect } from './local-server.ts';

describeWith(['openssl'], 'TLS', () => {
  let directory = '';
  let authority: TestAuthority;
  let stranger: TestAuthority;
  let server: CertificateFiles;
  let otherName: CertificateFiles;
  let client: CertificateFiles;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-tls-'));
    authority = await createAuthority(join(directory, 'authority'));
    stranger = await createAuthority(join(directory, 'stranger'));
    server = await authority.issueServer('server');
    otherName = await authority.issueServer('other', 'DNS:other.example');
    client = await authority.issueClient('client');
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  interface Served {
    readonly files: CertificateFiles;
    readonly wantsClient?: boolean;
  }

  /** What a request to a TLS server comes to: the client's name as the server sees it, or our error. */
  async function visit(
    { files, wantsClient = false }: Served,
    options: Omit<RegistryOptions, 'credentials'>,
  ): Promise<unknown> {
    const https = createServer(
      {
        cert: await readFile(files.certificate),
        key: await readFile(files.key),
        ...(wantsClient ? { requestCert: true, ca: await readFile(authority.certificate) } : {}),
      },
      (request, response) => {
        const { socket } = request;
        const name = socket instanceof TLSSocket ? socket.getPeerCertificate().subject?.CN : undefined;
        response.writeHead(200, { 'x-client': String(name ?? 'nobody') }).end();
      },
    );
    https.listen(0, '127.0.0.1');
    await once(https, 'listening');
    try {
      await using registry = connect(`127.0.0.1:${portOf(https)}`, { retries: 0, ...options });
      const response = await registry.transport({ method: 'GET', url: registry.url('') });
      response.body.destroy();
      return response.headers['x-client'];
    } catch (error) {
      return error;
    } finally {
      const closed = once(https, 'close');
      https.close();
      https.closeAllConnections();
      await closed;
    }
  }

  /** A TLS server that sends bodies back, and the methods that it saw. */
  async function startEcho(): Promise<AsyncDisposable & { host: string; requests: string[] }> {
    const requests: string[] = [];
    const options = { cert: await readFile(server.certificate), key: await readFile(server.key) };
    const https = createServer(options, (request, response) => {
      requests.push(request.method ?? '');
      request.pipe(response);
    });
    https.listen(0, '127.0.0.1');
    await once(https, 'listening');
    return {
      host: `127.0.0.1:${portOf(https)}`,
      requests,
      async [Symbol.asyncDispose]() {
        const closed = once(https, 'close');
        https.close();
        https.closeAllConnections();
        await closed;
      },
    };
  }

  it('accepts the authority of a file', async () => {
    expect(await visit({ files: server }, { caFiles: [authority.certificate] })).toBe('nobody');
    expect(await visit({ files: server }, { caFiles: [stranger.certificate, authority.certificate] })).toBe(
      'nobody',
    );
  });

  it('refuses another authority, also in place of plain HTTP', async () => {
    const outcome = await visit({ files: server }, { caFiles: [stranger.certificate] });
    expect(outcome).toMatchObject({ code: 'NETWORK', hint: expect.stringContaining('--ca-file') });
  });

  it('refuses a certificate for another host', async () => {
    const outcome = await visit({ files: otherName }, { caFiles: [authority.certificate] });
    expect(outcome).toMatchObject({ code: 'NETWORK', facts: { reason: 'ERR_TLS_CERT_ALTNAME_INVALID' } });
  });

  it('presents a client certificate to a registry that requires one', async () => {
    const clientCertificate = { certFile: client.certificate, keyFile: client.key };
    const caFiles = [authority.certificate];
    expect(await visit({ files: server, wantsClient: true }, { caFiles, clientCertificate })).toBe('client');
    const without = await visit({ files: server, wantsClient: true }, { caFiles });
    expect(without).toMatchObject({ code: 'NETWORK' });
  });

  it('takes all three from a directory as in certs.d', async () => {
    const certDirectory = join(directory, 'certs.d');
    await mkdir(certDirectory);
    await copyFile(authority.certificate, join(certDirectory, 'ca.crt'));
    await copyFile(client.certificate, join(certDirectory, 'client.cert'));
    const incomplete = await visit({ files: server, wantsClient: true }, { certDirectory });
    expect(incomplete).toMatchObject({
      code: 'INVALID_CONFIGURATION',
      message: expect.stringContaining('client.key'),
    });
    await copyFile(client.key, join(certDirectory, 'client.key'));
    expect(await visit({ files: server, wantsClient: true }, { certDirectory })).toBe('client');
  });

  it('looks for such directories by host and port, the user before the system', async () => {
    const home = join(directory, 'home');
    const own = join(home, '.config/containers/certs.d/r.example:5000');
    await mkdir(own, { recursive: true });
    await copyFile(authority.certificate, join(own, 'ca.crt'));
    const read = (registry: string): ReturnType<typeof readTlsMaterial> =>
      readTlsMaterial({ caFiles: [], certDirectories: certificateDirectories(registry, home) });
    expect((await read('r.example:5000')).authorities).toEqual([
      await readFile(authority.certificate, 'latin1'),
    ]);
    expect((await read('r.example')).authorities).toEqual([]);
  });

  it('names the file that is no certificate, or no key', async () => {
    const caFiles = [authority.certificate];
    expect(await visit({ files: server }, { caFiles: [server.key] })).toMatchObject({
      code: 'INVALID_CONFIGURATION',
      message: expect.stringContaining(server.key),
    });
    expect(await visit({ files: server }, { caFiles: [join(directory, 'missing.pem')] })).toMatchObject({
      code: 'INVALID_CONFIGURATION',
    });
    const swapped = { certFile: client.certificate, keyFile: server.key };
    expect(await visit({ files: server }, { caFiles, clientCertificate: swapped })).toMatchObject({
      code: 'INVALID_CONFIGURATION',
    });
  });

  describe('of an authority that only Node has', () => {
    const before = getCACertificates('default');
    beforeAll(async () => {
      setDefaultCACertificates([...before, await readFile(authority.certificate, 'latin1')]);
    });
    afterAll(() => setDefaultCACertificates(before));

    it('accepts the certificate, whatever else is given', async () => {
      expect(await visit({ files: server }, {})).toBe('nobody');
      expect(await visit({ files: server }, { caFiles: [stranger.certificate] })).toBe('nobody');
      const outcome = await visit({ files: otherName }, { caFiles: [stranger.certificate] });
      expect(outcome).toMatchObject({ code: 'NETWORK', facts: { reason: 'ERR_TLS_CERT_ALTNAME_INVALID' } });
    });

    it('sends what is uploaded once and whole, also when much begins at the same time', async () => {
      await using echo = await startEcho();
      await using registry = connect(echo.host, { retries: 0, caFiles: [stranger.certificate] });
      const part = Buffer.alloc(100_000, 'part');
      const url = registry.url('');
      const bodies = [
        { method: 'POST', body: part },
        { method: 'PUT', body: () => Readable.from([part, part, part]), contentLength: 3 * part.length },
        { method: 'PATCH', body: () => Readable.from([part, part]), contentLength: 2 * part.length },
      ] as const;
      const echoed = bodies.map(async (body) => text((await registry.transport({ url, ...body })).body));
      expect(await Promise.all(echoed)).toEqual([1, 3, 2].map((count) => part.toString().repeat(count)));
      expect(echo.requests.toSorted()).toEqual(['PATCH', 'POST', 'PUT']);
      const again = await registry.transport({ method: 'POST', url, body: part });
      expect(await text(again.body)).toBe(part.toString());
    });
  });

  it('skips verification when configured to, and only then', async () => {
    expect(await visit({ files: otherName }, { insecureSkipTlsVerify: true })).toBe('nobody');
    expect(await visit({ files: server }, {})).toMatchObject({ code: 'NETWORK' });
  });
});
