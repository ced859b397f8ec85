import type { Logger } from '../../../shared/logger.ts';
import {
  secrets,
  validatingWebhookConfigurations,
  type ValidatingWebhookConfiguration,
} from '../../observe/cluster/resources.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { backoffDelay, pause } from '../../../shared/backoff.ts';
import { Informer } from '../../runtime/cache/informer.ts';
import { isApiError, ignoreNotFound } from '../../runtime/api/errors.ts';
import { keyOf } from '../../runtime/api/object-key.ts';
import type { ServerCertificate } from './server-certificate.ts';
import {
  obtainCertificate,
  type StoredCertificate,
  type StoredCertificateOptions,
} from './stored-certificate.ts';

export interface RotationOptions extends StoredCertificateOptions {
  /** Name of the ValidatingWebhookConfiguration whose webhooks are to trust the certificate. */
  readonly webhookConfiguration: string;
  /** Called with the first certificate and with each later one. */
  readonly use: (certificate: ServerCertificate) => Promise<void>;
  /** Milliseconds for API servers to learn a new authority before its certificate is used. @default 30000 */
  readonly settleTime?: number | undefined;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const defaultSettleTime = 30_000;
const backoff = { first: 500, limit: 30_000 };
/** Milliseconds after which everything is checked again even without an event. */
const maxDelay = 12 * 60 * 60 * 1000;

/**
 * Maintains a certificate: creates and stores it, has the API server trust it, and renews it in time. Watches
 * report changes by others. Runs until the signal is aborted.
 */
export async function rotateCertificates(options: RotationOptions): Promise<void> {
  const watching = new AbortController();
  const changes = watchChanges(options, AbortSignal.any([options.signal, watching.signal]));
  try {
    await rotate(options, changes);
  } finally {
    watching.abort();
    await changes.ended;
  }
}

async function rotate(options: RotationOptions, changes: Changes): Promise<void> {
  const { client, log, signal, use, settleTime = defaultSettleTime } = options;
  let used: string | undefined;
  let failures = 0;
  while (!signal.aborted) {
    try {
      const changed = changes.next();
      const stored = await ensureTrusted(client, options);
      const { certificate } = stored.serving;
      if (certificate !== used) {
        if (used !== undefined) await pause(settleTime, signal);
        await use(stored.serving);
        log.info('certificate in use', { renewAt: new Date(stored.renewAt).toISOString() });
        used = certificate;
      }
      failures = 0;
      await changed.within(Math.min(maxDelay, stored.renewAt - Date.now()));
    } catch (error) {
      if (!isApiError(error)) throw error;
      failures += 1;
      // A simultaneous write by another replica is expected.
      if (!isApiError(error, 'CONFLICT'))
        log.warn('certificate could not be maintained', { failures, error });
      await pause(backoffDelay(failures, backoff), signal);
    }
  }
}

/**
 * Returns the certificate, after making the API server trust it. The configuration is read first and written
 * last, so that nobody overwrites its authorities with older ones.
 */
async function ensureTrusted(client: ApiClient, options: RotationOptions): Promise<StoredCertificate> {
  const { webhookConfiguration: name, log } = options;
  const configuration = await client.get(validatingWebhookConfigurations, { name }).catch(ignoreNotFound);
  const stored = await obtainCertificate(options);
  const caBundle = Buffer.from(stored.authorities.join(''), 'utf8').toString('base64');
  if (configuration === undefined) {
    log.warn('ValidatingWebhookConfiguration not found', { name });
  } else if (!trusts(configuration, caBundle)) {
    await client.replace(validatingWebhookConfigurations, withAuthorities(configuration, caBundle));
    log.info('authorities written', { name, count: stored.authorities.length });
  }
  return stored;
}

function trusts({ webhooks = [] }: ValidatingWebhookConfiguration, caBundle: string): boolean {
  return webhooks.every(({ clientConfig }) => clientConfig.caBundle === caBundle);
}

function withAuthorities(
  configuration: ValidatingWebhookConfiguration,
  caBundle: string,
): ValidatingWebhookConfiguration {
  const webhooks = (configuration.webhooks ?? []).map((webhook) => ({
    ...webhook,
    clientConfig: { ...webhook.clientConfig, caBundle },
  }));
  return { ...configuration, webhooks };
}

interface Changes {
  /** Starts listening: changes count from now on. */
  next(): { within(milliseconds: number): Promise<void> };
  readonly ended: Promise<unknown>;
}

/** Watches the Secret and the configuration; only their names are cached. */
function watchChanges(
  { client, secret, webhookConfiguration, log }: RotationOptions,
  signal: AbortSignal,
): Changes {
  let changed = new AbortController();
  const informers = [
    new Informer({
      client,
      resource: secrets,
      selection: { namespace: secret.namespace, fieldSelector: `metadata.name=${secret.name}` },
      project: keyOf,
      log,
    }),
    new Informer({
      client,
      resource: validatingWebhookConfigurations,
      selection: { fieldSelector: `metadata.name=${webhookConfiguration}` },
      project: keyOf,
      log,
    }),
  ];
  for (const informer of informers) informer.onEvent(() => changed.abort());
  return {
    next() {
      changed = new AbortController();
      const either = AbortSignal.any([changed.signal, signal]);
      return { within: (milliseconds) => pause(Math.max(0, milliseconds), either) };
    },
    ended: Promise.all(informers.map((informer) => informer.run(signal))),
  };
}
