import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Connection, ConnectionRequest } from '../../../../src/controller/runtime/api/connection.ts';
import { ApiError } from '../../../../src/controller/runtime/api/errors.ts';

/** When a process dies. Writes of Events do not count: nothing depends on them. */
export interface Death {
  /** With which of its writes, from 1 on. */
  readonly write: number;
  /** Whether it still learns that the API server did as it was told. */
  readonly learns: boolean;
}

export interface MortalConnectionOptions {
  readonly connection: Connection;
  /** The only namespace that its user sees. */
  readonly namespace: string;
  readonly death?: Death | undefined;
}

/** A process's way to the API server, that ends with the process. */
export interface MortalConnection extends Connection {
  /** Method and path of each write so far. */
  readonly writes: readonly string[];
  /** Settles with the death. */
  readonly died: Promise<void>;
  readonly isDead: boolean;
  /** From now on nothing goes out and nothing comes in. */
  die(): void;
}

const namespaced = /^(\/apis\/[^/]+\/[^/]+|\/api\/v1)\/(modules|jobs|daemonsets|pods)(?=\?|$)/;

/** Wraps a connection so that it dies with a certain write, or when it is told to. */
export function mortalConnection({
  connection,
  namespace,
  death,
}: MortalConnectionOptions): MortalConnection {
  const life = new AbortController();
  const died = Promise.withResolvers<void>();
  const writes: string[] = [];
  const die = (): void => {
    life.abort(new ApiError({ code: 'NETWORK', message: 'The process is dead' }));
    connection.close();
    died.resolve();
  };
  const send = async (request: ConnectionRequest): Promise<IncomingMessage> => {
    life.signal.throwIfAborted();
    const { signal, path, method } = request;
    const sent = {
      ...request,
      path: path.replace(namespaced, `$1/namespaces/${namespace}/$2`),
      signal: signal === undefined ? life.signal : AbortSignal.any([signal, life.signal]),
    };
    const isCounted = method !== 'GET' && !path.includes('/events');
    if (!isCounted) return connection.send(sent);
    writes.push(`${method} ${path.replace(/\?.*/, '')}`);
    const isLast = writes.length === death?.write;
    if (death !== undefined && writes.length > death.write) {
      // The last write's answer is still being read.
      await died.promise;
      life.signal.throwIfAborted();
    }
    const response = await connection.send(sent);
    if (isLast && !death.learns) {
      die();
      throw life.signal.reason;
    }
    if (isLast) void once(response, 'close').then(die, die);
    return response;
  };
  return {
    host: connection.host,
    send,
    close: die,
    writes,
    died: died.promise,
    get isDead() {
      return life.signal.aborted;
    },
    die,
  };
}
