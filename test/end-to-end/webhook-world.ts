import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { validatingWebhookConfigurations } from '../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { createTemporaryDirectory } from '../../src/shared/temporary.ts';
import { logged, startOperator } from '../controller/operator/start-operator.ts';
import { webhookConfiguration } from '../controller/webhook/webhook-configuration.ts';
import { run } from '../deploy/manifests.ts';
import { apiServerPrograms, startApiServer } from '../support/api-server.ts';
import { freePort } from '../support/processes.ts';
import type { WebhookObjects } from '../../src/controller/webhook/webhooks.ts';

/** The real programs that it takes. */
export const webhookWorldPrograms = [...apiServerPrograms, 'kubectl'] as const;

/** An API server that asks our webhook. */
export interface WebhookWorld extends AsyncDisposable {
  /** Applies an object as users do. @returns what kubectl says */
  apply(object: object): Promise<string>;
}

/** Starts an API server and `kmm-operator webhook` with some of its webhooks. */
export async function startWebhookWorld({
  prepare,
  flags,
  objects,
}: {
  /** Makes the resources known. */
  readonly prepare: (client: ApiClient) => Promise<void>;
  readonly flags: readonly string[];
  /** Where webhooks with these flags are registered. */
  readonly objects: Pick<WebhookObjects, 'configuration'>;
}): Promise<WebhookWorld> {
  await using stack = new AsyncDisposableStack();
  const { path: directory } = stack.use(await createTemporaryDirectory());
  const api = stack.use(await startApiServer());
  const client = await api.client();
  await prepare(client);
  const port = await freePort();
  const configuration = webhookConfiguration(objects.configuration, port);
  const config = join(directory, 'controller_config.yaml');
  await writeFile(config, `{healthProbeBindAddress: "0", webhook: {port: ${port}}}`);
  await client.create(validatingWebhookConfigurations, configuration);
  const args = ['webhook', '--config', config, `--kubeconfig=${api.kubeconfig}`, ...flags];
  const webhook = startOperator({ args, directory, name: 'webhook', namespace: 'default' });
  stack.defer(() => webhook.stop());
  await logged(webhook, 'webhook started');
  const owned = stack.move();
  return {
    apply(object) {
      const options = [`--kubeconfig=${api.kubeconfig}`, `--cache-dir=${join(directory, 'cache')}`];
      return run('kubectl', [...options, 'apply', '--filename=-'], JSON.stringify(object)).catch(
        ({ stderr }: { stderr: string }) => stderr,
      );
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
