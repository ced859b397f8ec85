import type { V1RuleWithOperations, V1ValidatingWebhook } from '@kubernetes/client-node';
import type { ValidatingWebhookConfiguration } from '../../../src/controller/observe/cluster/resources.ts';

function rule(
  apiGroup: string,
  apiVersion: string,
  resource: string,
  operations = ['CREATE', 'UPDATE'],
): V1RuleWithOperations {
  return { apiGroups: [apiGroup], apiVersions: [apiVersion], operations, resources: [resource] };
}

/** The webhooks as KMM registers them, but at a port of this machine. Authorities are left to the webhook. */
export function webhookConfiguration(name: string, port: number): ValidatingWebhookConfiguration {
  const webhook = (
    webhookName: string,
    path: string,
    asked: V1RuleWithOperations,
    namespaceSelector: object = {},
  ): V1ValidatingWebhook => ({
    name: webhookName,
    admissionReviewVersions: ['v1'],
    clientConfig: { url: `https://127.0.0.1:${port}${path}` },
    failurePolicy: 'Fail',
    sideEffects: 'None',
    rules: [asked],
    namespaceSelector,
  });
  return {
    metadata: { name },
    webhooks: [
      webhook(
        'vmodule.kb.io',
        '/validate-kmm-sigs-x-k8s-io-v1beta1-module',
        rule('kmm.sigs.x-k8s.io', 'v1beta1', 'modules'),
      ),
      webhook(
        'vmanagedclustermodule.kb.io',
        '/validate-hub-kmm-sigs-x-k8s-io-v1beta1-managedclustermodule',
        rule('hub.kmm.sigs.x-k8s.io', 'v1beta1', 'managedclustermodules'),
      ),
      webhook(
        'vpreflightvalidation.kb.io',
        '/validate-kmm-sigs-x-k8s-io-v1beta2-preflightvalidation',
        rule('kmm.sigs.x-k8s.io', 'v1beta2', 'preflightvalidations'),
      ),
      webhook(
        'namespace-deletion.kmm.sigs.k8s.io',
        '/validate--v1-namespace',
        rule('', 'v1', 'namespaces', ['DELETE']),
        { matchLabels: { 'kmm.node.k8s.io/contains-modules': '' } },
      ),
    ],
  };
}
