import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { ApiClient, type ApiClientOptions } from '../../../src/controller/runtime/api/client.ts';
import { createConnection, loadConfig } from '../../../src/controller/runtime/api/connection.ts';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { createAuthority } from '../../support/certificates.ts';

/** What the server does with a request, once it has read it. */
export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** A server in place of an API server, for answers that a real one cannot be made to give. */
export interface FaultyServer extends AsyncDisposable {
  /** Method and path of each request that was read to its end. */
  readonly requests: readonly string[];
  readonly kubeconfig: string;
  answer: Answer;
  client(options?: Partial<ApiClientOptions>): ApiClient;
}

export async function startFaultyServer(): Promise<FaultyServer> {
  const folder = await createTemporaryDirectory();
  const authority = await createAuthority(folder.path);
  const { certificate, key } = await authority.issueServer('server');
  const requests: string[] = [];
  const server = createServer(
    { cert: await readFile(certificate), key: await readFile(key) },
    (request, response) => {
      request.resume();
      request.once('end', () => {
        requests.push(`${request.method} ${request.url}`);
        faulty.answer(request, response);
      });
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port was assigned');
  const kubeconfig = join(folder.path, 'kubeconfig');
  const cluster = {
    server: `https://127.0.0.1:${address.port}`,
    'certificate-authority': authority.certificate,
  };
  await writeFile(
    kubeconfig,
    stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster }],
      users: [{ name: 'test', user: {} }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
      'current-context': 'test',
    }),
  );
  const connection = createConnection(await loadConfig(kubeconfig));
  const faulty: FaultyServer = {
    requests,
    kubeconfig,
    answer: (_request, response) => response.writeHead(500).end(),
    client: (options = {}) =>
      new ApiClient({ connection, fieldManager: 'test', userAgent: 'kmm-sign-tests', ...options }),
    async [Symbol.asyncDispose]() {
      connection.close();
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
      await folder[Symbol.asyncDispose]();
    },
  };
  return faulty;
}

/** Ends an answer with JSON. */
export function answerJson(
  response: ServerResponse,
  body: unknown,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}
