import type { Registry } from 'prom-client';
import { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import {
  createConnection,
  type Connection,
  type ConnectionRequest,
  loadConfig,
} from '../../../src/controller/runtime/api/connection.ts';

/** A client, and what it wrote. */
export interface CountingClient {
  readonly client: ApiClient;
  /** Method and path of each request that is no GET, in order. */
  readonly writes: readonly string[];
}

/** A client of the operator's on a kubeconfig's cluster, and what it wrote. */
export async function countingClient(kubeconfig: string): Promise<CountingClient> {
  const writes: string[] = [];
  const client = await clientThrough(kubeconfig, (request, send) => {
    const path = request.path.replace(/\?.*$/s, '');
    if (request.method !== 'GET') writes.push(`${request.method} ${path}`);
    return send(request);
  });
  return { client, writes };
}

/** A client of the operator's whose requests a test sees, refuses or sends. */
export async function clientThrough(
  kubeconfig: string,
  pass: (request: ConnectionRequest, send: Connection['send']) => ReturnType<Connection['send']>,
): Promise<ApiClient> {
  const connection = createConnection(await loadConfig(kubeconfig));
  const send = (request: ConnectionRequest): ReturnType<Connection['send']> => connection.send(request);
  return new ApiClient({
    connection: { ...connection, send: (request) => pass(request, send) },
    fieldManager: 'kmm-operator',
    userAgent: 'kmm-sign-tests',
  });
}

/** How often a controller has reconciled, whatever came of it. */
export async function reconciles(registry: Registry, controller: string): Promise<number> {
  const metric = await registry.getSingleMetric('controller_runtime_reconcile_total')?.get();
  return (metric?.values ?? [])
    .filter(({ labels }) => labels['controller'] === controller)
    .reduce((sum, { value }) => sum + value, 0);
}
