import type { ServerResponse } from 'node:http';
import { expect, it } from 'vitest';
import { RegistryClient } from '../../../src/registry/image/client.ts';
import {
  signImage,
  storeImage,
  withParents,
  helloModule,
  useSigningBench,
} from '../../support/signed-images.ts';
import { rejection } from '../../registry/http/local-server.ts';
import { startExchange } from '../../registry/transfer/transfer-server.ts';

const bench = useSigningBench();

it('an upload that is refused ends those beside it, whose servers say nothing', async () => {
  const source = bench.repository('vendor/refused');
  const layers = [
    { entries: withParents('etc/motd', 'untouched') },
    { entries: withParents('lib/modules/6.1.0/extra/hello.ko', await helloModule) },
  ];
  await storeImage(source, { layers }, '1.0');
  const waiting: ServerResponse[] = [];
  const left = Promise.withResolvers<void>();
  await using server = await startExchange(({ method, response }) => {
    if (method === 'POST') return void response.writeHead(202, { location: '/v2/a/b/blobs/uploads/1' }).end();
    if (method === 'DELETE') return void response.writeHead(204).end();
    if (method !== 'PUT') return void response.writeHead(404).end();
    // The first waits for a second, and is refused; the second gets no response.
    waiting.push(response);
    if (waiting.length !== 2) return;
    response.once('close', () => left.resolve());
    waiting[0]?.writeHead(403).end();
  });
  await using client = new RegistryClient({
    plainHttp: true,
    credentials: { anonymous: true },
    environment: {},
  });
  const destination = {
    repository: client.repository({ registry: server.host, repository: 'a/b' }),
    tag: '1.0',
  };
  const signing = signImage({
    source: { repository: source, selector: { tag: '1.0' } },
    destination,
    signer: bench.key.signer,
  });
  expect(await rejection(signing)).toMatchObject({ code: 'DENIED' });
  await left.promise;
});
