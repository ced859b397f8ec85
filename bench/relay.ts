/** A TCP relay that counts what passes: the bytes that a program moves, headers included. */
import { type AddressInfo, connect, createServer } from 'node:net';

export interface Relay extends AsyncDisposable {
  readonly host: string;
  /** Bytes from the registry to the program so far. */
  readonly down: () => number;
  /** Bytes from the program to the registry so far. */
  readonly up: () => number;
}

/** Listens on a free port of 127.0.0.1 and passes everything on to `target` ("host:port"). */
export async function startRelay(target: string): Promise<Relay> {
  const [host = '', port = ''] = target.split(':');
  let down = 0;
  let up = 0;
  const server = createServer((client) => {
    const upstream = connect(Number(port), host);
    client.on('data', (piece: Buffer) => void (up += piece.length));
    upstream.on('data', (piece: Buffer) => void (down += piece.length));
    client.pipe(upstream).pipe(client);
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
    client.on('close', () => upstream.destroy());
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const address = server.address() as AddressInfo;
  return {
    host: `127.0.0.1:${address.port}`,
    down: () => down,
    up: () => up,
    [Symbol.asyncDispose]: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}
