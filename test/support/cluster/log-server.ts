import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { CertificateFiles } from '../certificates.ts';

/** Returns the file with a container's output. */
export type FindLog = (log: {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly previous: boolean;
}) => string | undefined;

/** The part of a kubelet's HTTPS server from which the API server gets logs. */
export interface LogServer extends AsyncDisposable {
  readonly port: number;
}

/** Serves `/containerLogs/NAMESPACE/POD/CONTAINER` with `tailLines`, `limitBytes` and `previous`. */
export async function startLogServer(tls: CertificateFiles, find: FindLog): Promise<LogServer> {
  const options = { cert: await readFile(tls.certificate), key: await readFile(tls.key) };
  const answer = async (target: string): Promise<string | undefined> => {
    const { pathname, searchParams } = new URL(target, 'https://kubelet');
    const [, verb, namespace = '', pod = '', container = ''] = pathname.split('/');
    if (verb !== 'containerLogs') return undefined;
    const file = find({ namespace, pod, container, previous: searchParams.get('previous') === 'true' });
    if (file === undefined) return undefined;
    const text = await readFile(file, 'utf8').catch(() => '');
    return cut(text, { lines: searchParams.get('tailLines'), bytes: searchParams.get('limitBytes') });
  };
  const server = createServer(options, (request, response) => {
    void answer(request.url ?? '/').then(
      (text) => response.writeHead(text === undefined ? 404 : 200).end(text ?? 'there is no such container'),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port was assigned');
  return {
    port: address.port,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function cut(text: string, { lines, bytes }: { lines: string | null; bytes: string | null }): string {
  const all = text.split(/(?<=\n)/);
  const tail = lines === null ? text : all.slice(Math.max(0, all.length - Number(lines))).join('');
  return bytes === null ? tail : Buffer.from(tail).subarray(0, Number(bytes)).toString();
}
