import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { promisify } from 'node:util';
import { requireProgram } from '../programs.ts';

/** A network of this machine for the pods of a native node, and for what they and other machines reach here. */
export interface NodeNetwork extends AsyncDisposable {
  /** Name of the bridge. */
  readonly bridge: string;
  /** The machine's own address in it. */
  readonly gateway: string;
  readonly podRange: string;
  /** First and last address for pods. */
  readonly pods: readonly [string, string];
  readonly serviceRange: string;
  /** Address of the service `kubernetes`, which is the first of the range. */
  readonly apiService: string;
  /** An address of this machine under which it offers what another machine serves. */
  readonly guest: string;
  /** Makes a port of 127.0.0.1 reachable in the network. */
  publish(port: number, address?: string, as?: number): Promise<void>;
}

/** Creates a bridge with addresses that no other interface of this machine has. Needs root. */
export async function createNodeNetwork(): Promise<NodeNetwork> {
  const number = freeNumber();
  const prefix = `10.213.${number}`;
  const bridge = `kmm-sign${number}`;
  const gateway = `${prefix}.1`;
  const guest = `${prefix}.200`;
  const apiService = `10.214.${number}.1`;
  await ip('link', 'add', bridge, 'type', 'bridge');
  const servers: Server[] = [];
  const sockets = new Set<Socket>();
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    await Promise.all(servers.map((server) => promisify(server.close.bind(server))()));
    await ip('link', 'delete', bridge);
  };
  try {
    await ip('address', 'add', `${gateway}/24`, 'dev', bridge);
    for (const address of [guest, apiService]) await ip('address', 'add', `${address}/32`, 'dev', bridge);
    await ip('link', 'set', bridge, 'up');
  } catch (error) {
    await close();
    throw error;
  }
  return {
    bridge,
    gateway,
    podRange: `${prefix}.0/24`,
    pods: [`${prefix}.10`, `${prefix}.199`],
    serviceRange: `10.214.${number}.0/24`,
    apiService,
    guest,
    async publish(port, address = gateway, as = port) {
      const server = createServer((incoming) => join(incoming, connect(port, '127.0.0.1'), sockets));
      servers.push(server);
      server.listen(as, address);
      await once(server, 'listening');
    },
    [Symbol.asyncDispose]: close,
  };
}

/** Passes on what two connections receive, until one of them ends. */
function join(one: Socket, other: Socket, sockets: Set<Socket>): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    sockets.add(from);
    from.pipe(to);
    from.on('error', () => to.destroy());
    from.once('close', () => {
      sockets.delete(from);
      to.destroy();
    });
  }
}

function freeNumber(): number {
  const taken = Object.keys(networkInterfaces());
  for (let number = 1; number < 255; number += 1) {
    if (!taken.includes(`kmm-sign${number}`)) return number;
  }
  throw new Error('there are too many bridges of earlier tests: ip link delete kmm-signN');
}

async function ip(...args: readonly string[]): Promise<void> {
  await promisify(execFile)(requireProgram('ip'), args);
}
