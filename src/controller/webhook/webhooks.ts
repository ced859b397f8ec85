import type { BuilderName } from '../../builder/builder.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import {
  bootModuleValidator,
  managedClusterModuleValidator,
  moduleValidator,
  namespaceValidator,
  preflightOcpValidator,
  preflightValidator,
  type Validator,
} from './validators.ts';

/** Groups of webhooks that can be served, as KMM's flags name them. */
export const webhookNames = ['module', 'managedclustermodule', 'namespace', 'preflightvalidation'] as const;
export type WebhookName = (typeof webhookNames)[number];

/** Returns the webhooks by the path of their URL, as in KMM. */
export function createWebhooks(
  names: readonly WebhookName[],
  client: ApiClient,
  defaultBuilder: BuilderName,
): ReadonlyMap<string, Validator> {
  const all: Readonly<Record<WebhookName, Readonly<Record<string, Validator>>>> = {
    module: {
      '/validate-kmm-sigs-x-k8s-io-v1beta1-module': moduleValidator(defaultBuilder),
      '/validate-kmm-sigs-x-k8s-io-v1beta1-bootmoduleconfig': bootModuleValidator,
    },
    managedclustermodule: {
      '/validate-hub-kmm-sigs-x-k8s-io-v1beta1-managedclustermodule': managedClusterModuleValidator,
    },
    namespace: { '/validate--v1-namespace': namespaceValidator(client) },
    preflightvalidation: {
      '/validate-kmm-sigs-x-k8s-io-v1beta1-preflightvalidation': preflightValidator,
      '/validate-kmm-sigs-x-k8s-io-v1beta2-preflightvalidation': preflightValidator,
      '/validate-kmm-sigs-x-k8s-io-v1beta1-preflightvalidationocp': preflightOcpValidator,
      '/validate-kmm-sigs-x-k8s-io-v1beta2-preflightvalidationocp': preflightOcpValidator,
    },
  };
  return new Map(names.flatMap((name) => Object.entries(all[name])));
}

/** Names in the cluster that a webhook and its manifests share. */
export interface WebhookObjects {
  readonly service: string;
  /** In the operator's namespace. */
  readonly secret: string;
  readonly configuration: string;
}

/** The names for the operator. */
export const webhookObjects: WebhookObjects = objectsOf('kmm-operator');
/** The names for a hub's operator. */
export const hubWebhookObjects: WebhookObjects = objectsOf('kmm-operator-hub');

/**
 * Returns the names for webhooks. A hub serves only the one for ManagedClusterModules. An operator for its
 * own cluster may run beside it.
 */
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
