import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import {
  createRegistryTransport,
  type RegistryTransport,
} from '../../../src/registry/http/registry-transport.ts';
import { anonymousKeychain, type Keychain } from '../../../src/registry/credentials/keychain.ts';
import type { RegistryOptions } from '../../../src/registry/http/registry-transport.ts';
import type { Logger } from '../../../src/shared/logger.ts';
import { portOf } from '../../support/token-server.ts';

/** What a server saw. */
interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface LocalServer extends AsyncDisposable {
  /** `127.0.0.1:40123` */
  readonly host: string;
  readonly url: string;
  readonly seen: readonly SeenRequest[];
}

/** A real HTTP server on 127.0.0.1 that does what the test says. */
export async function startServer(listener: RequestListener, address = '127.0.0.1'): Promise<LocalServer> {
  const seen: SeenRequest[] = [];
  const server = createServer((request, response) => {
    const { method = '', url = '', headers } = request;
    seen.push({ method, path: url, authorization: headers.authorization, headers });
    listener(request, response);
  });
  server.listen(0, address);
  await once(server, 'listening');
  const host = `${address.includes(':') ? `[${address}]` : address}:${portOf(server)}`;
  return {
    host,
    url: `http://${host}`,
    seen,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** A registry client that waits a millisecond where a real one waits half a second. */
export function connect(
  registry: string,
  {
    credentials = anonymousKeychain,
    ...options
  }: { credentials?: Keychain } & Omit<RegistryOptions, 'credentials'> = {},
): RegistryTransport & AsyncDisposable {
  const client = createRegistryTransport(registry, credentials, {
    retryDelay: 1,
    environment: {},
    ...options,
  });
  return { ...client, [Symbol.asyncDispose]: () => client.close() };
}

/** A logger that remembers. */
export function rememberingLogger(): Logger & {
  readonly lines: { level: string; message: string; fields: unknown }[];
} {
  const lines: { level: string; message: string; fields: unknown }[] = [];
  const at =
    (level: string) =>
    (message: string, fields?: unknown): void => {
      lines.push({ level, message, fields });
    };
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** What a promise was rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it was not rejected');
}
