import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { createServerCertificate } from '../../../../src/controller/webhook/certificates/server-certificate.ts';
import { createTemporaryDirectory } from '../../../../src/shared/temporary.ts';
import { describeWith } from '../../../support/programs.ts';

const day = 24 * 60 * 60 * 1000;

function make(names: readonly string[]) {
  return createServerCertificate(names, new Date(Date.now() - day), new Date(Date.now() + day));
}

describeWith(['openssl'], 'a server certificate', ({ openssl }) => {
  it('is one that OpenSSL trusts, for its names only, and for servers only', async () => {
    await using directory = await createTemporaryDirectory();
    const at = (name: string): string => join(directory.path, name);
    const made = await make(['service.namespace.svc', '10.0.0.1', 'fd00::1:2']);
    await writeFile(at('ca'), made.authority);
    await writeFile(at('server'), made.certificate);
    const verify = (...args: readonly string[]) =>
      promisify(execFile)(openssl, ['verify', '-x509_strict', '-CAfile', at('ca'), ...args, at('server')]);
    for (const names of [
      ['-verify_hostname', 'service.namespace.svc'],
      ['-verify_ip', '10.0.0.1'],
      ['-verify_ip', 'fd00:0:0:0:0:0:1:2'],
    ]) {
      expect((await verify('-purpose', 'sslserver', ...names)).stdout).toContain(': OK');
    }
    await expect(verify('-verify_hostname', 'other.namespace.svc')).rejects.toThrow('Command failed');
    await expect(verify('-purpose', 'sslclient')).rejects.toThrow('Command failed');
  });

  it('serves TLS with its key', async () => {
    const { authority, certificate, key } = await make(['127.0.0.1']);
    const server = createServer({ cert: certificate, key: key.reveal() }, (_, response) =>
      response.end('yes'),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('no address');
    const { get } = await import('node:https');
    const [response] = await once(
      get({ host: '127.0.0.1', port: address.port, ca: authority, agent: false }),
      'response',
    );
    expect((response as { statusCode: number }).statusCode).toBe(200);
    server.closeAllConnections();
    server.close();
  });
});
