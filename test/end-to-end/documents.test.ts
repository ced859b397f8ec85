import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../src/shared/temporary-directory.ts';
import { validatingWebhookConfigurations } from '../../src/controller/cluster/resources.ts';
import { webhookObjects } from '../../src/controller/webhook/webhook-objects.ts';
import { logged, startOperator } from '../controller/operator/start-operator.ts';
import { webhookConfiguration } from '../controller/webhook/webhook-configuration.ts';
import { run } from '../deploy/manifests.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../support/api-server.ts';
import { installCustomResources } from '../support/custom-resources.ts';
import { freePort, type RunningProcess } from '../support/processes.ts';
import { describeWith } from '../support/programs.ts';

const directory = fileURLToPath(new URL('../../fixtures/documents/', import.meta.url));
const examples = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.yaml'))
  .toSorted()
  .flatMap((file) =>
    parseAllDocuments(readFileSync(join(directory, file), 'utf8')).map((document, index) => ({
      file,
      index,
      object: document.toJS() as object,
    })),
  );

/** What kubectl says of an object that was accepted; several examples have one name. */
const applied = / (?:created|configured|unchanged)\n$/;

/** Files and numbers of objects. */
const accepted = [
  ['openshift-4.12/4.12.2.2-install-hub.yaml', 0],
  ['openshift-4.12/4.2.2-namespace.yaml', 0],
  ['openshift-4.12/4.4.1.1-dockerfile-configmap.yaml', 0],
  ['openshift-4.12/4.7-sign-prebuilt-image.yaml', 0],
  ['openshift-4.12/4.8-build-and-sign.yaml', 0],
  ['openshift-4.12/4.8-build-and-sign.yaml', 1],
  ['upstream/managed-cluster-module.yaml', 0],
] as const;

const otherProduct = 'no matches for kind';
const placeholder = 'metadata.name: Invalid value: "<';

/** What is said of the other objects of a file. */
const refused = [
  ['openshift-4.12/4.10.1-machine-config.yaml', otherProduct],
  ['openshift-4.12/4.10.3-firmware.yaml', 'spec.moduleLoader.container.kernelMappings: Required value'],
  ['openshift-4.12/4.12.2.2-install-hub.yaml', otherProduct],
  ['openshift-4.12/4.12.3-managed-cluster-module.yaml', placeholder],
  ['openshift-4.12/4.12.4-install-spoke.yaml', otherProduct],
  ['openshift-4.12/4.2.2-operator-group.yaml', otherProduct],
  ['openshift-4.12/4.2.2-subscription.yaml', otherProduct],
  ['openshift-4.12/4.2.3-security-context-constraints.yaml', otherProduct],
  ['openshift-4.12/4.3.3-module.yaml', placeholder],
  ['openshift-4.12/4.4.2-kernel-mapping.yaml', 'invalid object'],
  ['openshift-4.12/4.6-secrets.yaml', 'illegal base64 data'],
  ['upstream/install-spoke.yaml', otherProduct],
] as const;

describeWith([...apiServerPrograms, 'kubectl'], 'the examples of the KMM documentation', () => {
  let api: ApiServer;
  let temporary: TemporaryDirectory;
  let webhook: RunningProcess;

  beforeAll(async () => {
    temporary = await createTemporaryDirectory();
    api = await startApiServer();
    const client = await api.client();
    await installCustomResources(client);
    const port = await freePort();
    await client.create(
      validatingWebhookConfigurations,
      webhookConfiguration(webhookObjects.configuration, port),
    );
    const config = join(temporary.path, 'controller_config.yaml');
    await writeFile(config, `{healthProbeBindAddress: "0", webhook: {port: ${port}}}`);
    const flags = ['--enable-module', '--enable-managedclustermodule', '--enable-preflightvalidation'];
    const args = ['webhook', '--config', config, `--kubeconfig=${api.kubeconfig}`, ...flags];
    webhook = startOperator({ args, directory: temporary.path, name: 'webhook', namespace: 'default' });
    await logged(webhook, 'webhook started');
  });
  afterAll(async () => {
    await webhook?.stop();
    await api?.[Symbol.asyncDispose]();
    await temporary?.[Symbol.asyncDispose]();
  });

  /** Applies an object as users do. @returns what kubectl says */
  async function apply(object: object): Promise<string> {
    const options = [`--kubeconfig=${api.kubeconfig}`, `--cache-dir=${join(temporary.path, 'cache')}`];
    return run('kubectl', [...options, 'apply', '--filename=-'], JSON.stringify(object)).catch(
      ({ stderr }: { stderr: string }) => stderr,
    );
  }

  it.each(accepted)('are accepted as they stand: %s, object %i', async (file, index) => {
    expect(await apply(example(file, index))).toMatch(applied);
  });

  it.each(refused)('are refused for a reason that their README names: %s', async (file, reason) => {
    const all = examples.filter((one) => one.file === file && !isAccepted(one));
    for (const { object } of all) expect(await apply(object)).toContain(reason);
    expect(all).not.toEqual([]);
  });

  it.each(['openshift-4.12/4.3.3-module.yaml', 'openshift-4.12/4.12.3-managed-cluster-module.yaml'])(
    'are accepted with names in place of placeholders: %s',
    async (file) => {
      const text = JSON.stringify(example(file, 0));
      const named = text.replaceAll(/<([a-z_-]+)>/g, (_match, name: string) => name.replaceAll('_', '-'));
      expect(await apply(JSON.parse(named) as object)).toMatch(applied);
    },
  );

  it('are all looked at', () => {
    const files = [...accepted, ...refused].map(([file]) => file);
    expect(new Set(files)).toEqual(new Set(examples.map(({ file }) => file)));
  });
});

function isAccepted({ file, index }: { file: string; index: number }): boolean {
  return accepted.some(([one, at]) => one === file && at === index);
}

function example(file: string, index: number): object {
  const found = examples.find((one) => one.file === file && one.index === index);
  if (found === undefined) throw new Error(`${file} has no object ${index}`);
  return found.object;
}
