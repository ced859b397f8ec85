import type { Registry } from 'prom-client';
import { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import {
  createConnection,
  type Connection,
  loadConfig,
} from '../../../src/controller/runtime/api/connection.ts';

/** A client, and what it wrote. */
export interface CountingClient {
  readonly client: ApiClient;
  /** Method and path of each request that is no GET, in order. */
  readonly writes: readonly string[];
}

/** A client of the operator's on a kubeconfig's cluster. */
export async function countingClient(kubeconfig: string): Promise<CountingClient> {
  const connection = createConnection(await loadConfig(kubeconfig));
  const writes: string[] = [];
  const send: Connection['send'] = (request) => {
    const path = request.path.replace(/\?.*$/s, '');
    if (request.method !== 'GET') writes.push(`${request.method} ${path}`);
    return connection.send(request);
  };
  const client = new ApiClient({
    connection: { ...connection, send },
    fieldManager: 'kmm-operator',
    userAgent: 'kmm-sign-tests',
  });
  return { client, writes };
}

/** How often a controller has reconciled, whatever came of it. */
export async function reconciles(registry: Registry, controller: string): Promise<number> {
  const metric = await registry.getSingleMetric('controller_runtime_reconcile_total')?.get();
  return (metric?.values ?? [])
    .filter(({ labels }) => labels['controller'] === controller)
    .reduce((sum, { value }) => sum + value, 0);
}
