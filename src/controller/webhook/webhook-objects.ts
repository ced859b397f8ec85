import type { WebhookName } from './webhooks.ts';

/** Names in the cluster that a webhook and its manifests share. */
export interface WebhookObjects {
  readonly service: string;
  /** In the operator's namespace. */
  readonly secret: string;
  readonly configuration: string;
}

/** Those of the operator. */
export const webhookObjects: WebhookObjects = objectsOf('kmm-operator');
/** Those of a hub's operator. */
export const hubWebhookObjects: WebhookObjects = objectsOf('kmm-operator-hub');

/** A hub checks ManagedClusterModules and nothing else. It may have an operator of its own beside it. */
export function webhookObjectsOf(names: readonly WebhookName[]): WebhookObjects {
  return names.every((name) => name === 'managedclustermodule') ? hubWebhookObjects : webhookObjects;
}

function objectsOf(prefix: string): WebhookObjects {
  return {
    service: `${prefix}-webhook-service`,
    secret: `${prefix}-webhook-certificate`,
    configuration: `${prefix}-validating-webhook-configuration`,
  };
}
