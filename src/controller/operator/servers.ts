import type { Registry } from 'prom-client';
import type { Logger } from '../../shared/logger.ts';
import { createServerCertificate } from '../webhook/certificates/server-certificate.ts';
import type { MetricsSettings } from '../configuration/configuration.ts';
import type { BindAddress } from '../configuration/values.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { startOperatorServer, type HealthCheck, type OperatorServer } from '../runtime/operator-server.ts';
import { createMetricsAccess } from './metrics-access.ts';

/** Milliseconds. The certificate lives as long as the process, which never runs for so long. */
const certificateLife = 10 * 365 * 24 * 60 * 60 * 1000;
/** Clocks of readers may be slow. Milliseconds. */
const clockSkew = 60 * 60 * 1000;

/** Serves /healthz and /readyz. Returns undefined if they are turned off. */
export async function serveHealth(
  address: BindAddress | undefined,
  readyz: Readonly<Record<string, HealthCheck>>,
): Promise<OperatorServer | undefined> {
  if (address === undefined) return undefined;
  return startOperatorServer({ ...address, healthz: { ping: () => true }, readyz });
}

/** Serves /metrics to those who may read them. Returns undefined if they are turned off. */
export async function serveMetrics(
  settings: MetricsSettings,
  registry: Registry,
  client: ApiClient,
  log: Logger,
): Promise<OperatorServer | undefined> {
  if (settings.address === undefined) return undefined;
  return startOperatorServer({
    ...settings.address,
    metrics: registry,
    mayRead: settings.enableAuthnAuthz ? createMetricsAccess(client, log) : undefined,
    tls: settings.secureServing ? await createCertificate() : undefined,
  });
}

function createCertificate(): ReturnType<typeof createServerCertificate> {
  const now = Date.now();
  return createServerCertificate(['localhost'], new Date(now - clockSkew), new Date(now + certificateLife));
}
