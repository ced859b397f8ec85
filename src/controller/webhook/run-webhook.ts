import type { KubeConfig } from '@kubernetes/client-node';
import type { Logger } from '../../shared/logger.ts';
import {
  followCertificateDirectory,
  readCertificateDirectory,
} from './certificates/certificate-directory.ts';
import { rotateCertificates } from './certificates/rotation.ts';
import type { ServerCertificate } from './certificates/server-certificate.ts';
import type { OperatorConfiguration } from '../configuration/configuration.ts';
import { serveHealth } from '../operator/servers.ts';
import { ApiClient } from '../runtime/api/client.ts';
import { createConnection } from '../runtime/api/connection.ts';
import { startWebhookServer, type WebhookServer } from './server.ts';
import {
  createWebhooks,
  webhookNames,
  type WebhookName,
  type WebhookObjects,
  webhookObjectsOf,
} from './webhooks.ts';

/** Milliseconds. */
const defaultCertificateLife = 365 * 24 * 60 * 60 * 1000;
/** Names besides that of the service, so that the webhook can be tried outside a cluster. */
const localNames = ['localhost', '127.0.0.1'];

export interface RunWebhookOptions {
  readonly configuration: OperatorConfiguration;
  readonly kubeconfig: KubeConfig;
  /** @default all */
  readonly webhooks: readonly WebhookName[];
  /** Version of the program. */
  readonly version: string;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Validity of certificates that the webhook creates; milliseconds. @default a year */
  readonly certificateLife?: number | undefined;
  /** As in RotationOptions. */
  readonly settleTime?: number | undefined;
}

/**
 * Serves the validating admission webhook until the signal is aborted.
 * @throws ConfigurationError for a bad certificate directory
 */
export async function runWebhook(options: RunWebhookOptions): Promise<void> {
  const { configuration, kubeconfig, version, log } = options;
  const names = options.webhooks.length === 0 ? webhookNames : options.webhooks;
  await using stack = new AsyncDisposableStack();
  const connection = createConnection(kubeconfig);
  stack.defer(() => connection.close());
  const client = new ApiClient({
    connection,
    fieldManager: 'kmm-operator-webhook',
    userAgent: `kmm-operator/${version}`,
  });
  const webhooks = createWebhooks(names, client, configuration.build.builder);
  let server: WebhookServer | undefined;
  stack.use(await serveHealth(configuration.healthProbe, { webhook: () => server !== undefined }));
  stack.defer(() => server?.[Symbol.asyncDispose]());

  const use = async (certificate: ServerCertificate): Promise<void> => {
    if (server !== undefined) return server.use(certificate);
    server = await startWebhookServer({ port: configuration.webhook.port, certificate, webhooks, log });
    log.info('webhook started', { version, port: server.port, webhooks: names });
  };
  await maintainCertificate(options, webhookObjectsOf(names), client, use);
  log.info('webhook stopped');
}

/** Supplies the server with certificates until the signal is aborted. */
async function maintainCertificate(
  options: RunWebhookOptions,
  objects: WebhookObjects,
  client: ApiClient,
  use: (certificate: ServerCertificate) => Promise<void>,
): Promise<void> {
  const { configuration, log, signal } = options;
  const { certificateDirectory: directory } = configuration.webhook;
  if (directory !== undefined) {
    const current = await readCertificateDirectory(directory);
    await use(current);
    return followCertificateDirectory(directory, current, use, log, signal);
  }
  const { namespace } = configuration;
  await rotateCertificates({
    client,
    secret: { namespace, name: objects.secret },
    names: [`${objects.service}.${namespace}.svc`, ...localNames],
    life: options.certificateLife ?? defaultCertificateLife,
    webhookConfiguration: objects.configuration,
    settleTime: options.settleTime,
    use,
    log,
    signal,
  });
}
