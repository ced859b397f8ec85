import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Connection, ConnectionRequest } from '../../../../src/controller/runtime/api/connection.ts';
import { ApiError } from '../../../../src/controller/runtime/api/errors.ts';

/** When a process is killed. Writes of Events do not count: nothing depends on them. */
export interface KillPoint {
  /** At which of its writes, from 1. */
  readonly write: number;
  /** Whether it still receives the API server's response to that write. */
  readonly receivesResponse: boolean;
}

export interface KillableConnectionOptions {
  readonly connection: Connection;
  /** The only namespace that is visible through it. */
  readonly namespace: string;
  readonly killPoint?: KillPoint | undefined;
}

/** A process's connection to the API server, which ends with the process. */
export interface KillableConnection extends Connection {
  /** Method and path of each write so far. */
  readonly writes: readonly string[];
  /** Settles when it is killed. */
  readonly killed: Promise<void>;
  readonly isKilled: boolean;
  /** Stops all requests and responses from now on. */
  kill(): void;
}

const namespaced = /^(\/apis\/[^/]+\/[^/]+|\/api\/v1)\/(modules|jobs|daemonsets|pods)(?=\?|$)/;

/** Wraps a connection so that it is killed at a certain write, or on demand. */
export function killableConnection({
  connection,
  namespace,
  killPoint,
}: KillableConnectionOptions): KillableConnection {
  const life = new AbortController();
  const killed = Promise.withResolvers<void>();
  const writes: string[] = [];
  const kill = (): void => {
    life.abort(new ApiError({ code: 'NETWORK', message: 'The process was killed' }));
    connection.close();
    killed.resolve();
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
    const isLast = writes.length === killPoint?.write;
    if (killPoint !== undefined && writes.length > killPoint.write) {
      // The response to the last write is still being read.
      await killed.promise;
      life.signal.throwIfAborted();
    }
    const response = await connection.send(sent);
    if (isLast && !killPoint.receivesResponse) {
      kill();
      throw life.signal.reason;
    }
    if (isLast) void once(response, 'close').then(kill, kill);
    return response;
  };
  return {
    host: connection.host,
    send,
    close: kill,
    writes,
    killed: killed.promise,
    get isKilled() {
      return life.signal.aborted;
    },
    kill,
  };
}
