import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { createRegistryTransport } from '../../../src/registry/http/registry-transport.ts';
import { fixedKeychain } from '../../../src/registry/credentials/keychain.ts';
import { digestOf } from '../../../src/registry/model/digest.ts';
import { RemoteRepository } from '../../../src/registry/image/remote-repository.ts';
import type { Descriptor } from '../../../src/registry/model/manifest.ts';
import type { Logger } from '../../../src/shared/logger.ts';
import { Secret } from '../../../src/shared/secret.ts';
import { startServer, type LocalServer } from '../http/local-server.ts';

/** A request with its body, and the means to answer it. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: string;
  readonly url: URL;
  readonly body: Buffer;
}

/** A server that reads each request whole before it answers. */
export function startExchange(answer: (exchange: Exchange) => void): Promise<LocalServer> {
  return startServer((request, response) => {
    void buffer(request).then(
      (body) => {
        const url = new URL(request.url ?? '/', `http://${request.headers.host ?? 'nowhere'}`);
        answer({ request, response, method: request.method ?? '', url, body });
        return undefined;
      },
      () => response.destroy(),
    );
  });
}

/** Opens `vendor/driver` in a registry that speaks plain HTTP, with a user name and password. */
export function openRemote(host: string, repository = 'vendor/driver', logger?: Logger): RemoteRepository {
  const credentials = fixedKeychain({ source: 'test', username: 'tester', password: new Secret('secret') });
  const options = { plainHttp: true, retryDelay: 1, retries: 1, environment: {} };
  const connection = createRegistryTransport(host, credentials, options);
  return new RemoteRepository({
    connection,
    registry: host,
    repository,
    retryDelay: 1,
    logger,
    onClose: () => connection.close(),
  });
}

/** Bytes that look random, the same each time. */
export function noise(size: number, seed = 'noise'): Buffer {
  const pieces: Buffer[] = [];
  for (let length = 0, at = 0; length < size; length += 64, at += 1) {
    pieces.push(createHash('sha512').update(`${seed}${at}`).digest());
  }
  return Buffer.concat(pieces).subarray(0, size);
}

/** Describes a blob. */
export function describeBlob(bytes: Buffer): Descriptor {
  return { mediaType: 'application/octet-stream', digest: digestOf(bytes), size: bytes.length };
}
