import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** A way to a port of this machine that can break and heal. */
export interface Relay extends AsyncDisposable {
  readonly port: number;
  /** Breaks all connections; new ones are taken but get no answer until `heal`. */
  breakDown(): void;
  heal(): void;
  /** How many connections have been made. */
  readonly connections: number;
}

export async function startRelay(target: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  let held: Socket[] | undefined;
  let connections = 0;
  const track = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => sockets.delete(socket));
  };
  const forward = (socket: Socket): void => {
    const onward = connect(target, '127.0.0.1');
    track(onward);
    socket.pipe(onward).pipe(socket);
    socket.once('close', () => onward.destroy());
    onward.once('close', () => socket.destroy());
  };
  const server = createServer((socket) => {
    connections += 1;
    track(socket);
    if (held === undefined) forward(socket);
    else held.push(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port was assigned');
  return {
    port: address.port,
    get connections() {
      return connections;
    },
    breakDown() {
      held = [];
      for (const socket of sockets) socket.destroy();
    },
    heal() {
      const waiting = held ?? [];
      held = undefined;
      for (const socket of waiting) forward(socket);
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
