import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { parseAllDocuments } from 'yaml';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { managedClusterModules } from './resources.ts';
import {
  modules,
  preflightValidations,
  secrets,
  validatingWebhookConfigurations,
  type CustomResource,
} from '../../../src/controller/observe/cluster/resources.ts';
import { loadConfiguration } from '../../../src/controller/configuration/configuration.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { loadConfig } from '../../../src/controller/runtime/api/connection.ts';
import { runWebhook } from '../../../src/controller/webhook/run-webhook.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../../support/api-server.ts';
import { installCustomResources } from '../../support/custom-resources.ts';
import { freePort } from '../../support/processes.ts';
import { describeWith } from '../../support/programs.ts';
import { webhookConfiguration } from './webhook-configuration.ts';
import { webhookObjects } from '../../../src/controller/webhook/webhooks.ts';

const namespace = 'kmm-operator-system';
const waiting = { timeout: 40_000, interval: 50 };
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const secret = { namespace, name: webhookObjects.secret };
const configurationKey = { name: webhookObjects.configuration };

const container = {
  modprobe: { moduleName: 'example' },
  kernelMappings: [{ regexp: '^.+$', containerImage: 'registry.example.org/driver:${KERNEL_FULL_VERSION}' }],
};

function moduleWith(
  loader: object,
  spec: object = {},
  metadata: { readonly name: string; readonly finalizers?: readonly string[] } = { name: 'example' },
): CustomResource {
  return {
    metadata: { namespace: 'default', ...metadata },
    spec: { moduleLoader: { container: { ...container, ...loader } }, selector: {}, ...spec },
  };
}

const image = 'registry.example.org/driver:1';
const mapping = (fields: object): CustomResource => moduleWith({ kernelMappings: [fields] });
const sign = { keySecret: { name: 'key' }, certSecret: { name: 'cert' } };

/** Modules that a rule refuses. Some of the rules are in the CRD too, which comes first. */
const broken: readonly (readonly [string, CustomResource, string])[] = [
  [
    'an expression that is none',
    mapping({ regexp: '(', containerImage: image }),
    'invalid regexp at index 0',
  ],
  [
    'two ways to name a kernel',
    mapping({ regexp: 'x', literal: 'x', containerImage: image }),
    'mutually exclusive',
  ],
  ['no kernel', mapping({ containerImage: image }), 'regexp or literal must be set at kernelMappings[0]'],
  ['no kernel mapping', moduleWith({ kernelMappings: [] }), 'kernelMappings'],
  [
    'raw arguments beside a module name',
    moduleWith({ modprobe: { moduleName: 'a', rawArgs: { load: ['a'] } } }),
    'rawArgs cannot be set when moduleName is set',
  ],
  [
    'no module name and half of the raw arguments',
    moduleWith({ modprobe: { rawArgs: { load: ['a'] } } }),
    'load and unload rawArgs must be set when moduleName is unset',
  ],
  [
    'a loading order of one',
    moduleWith({ modprobe: { moduleName: 'a', modulesLoadingOrder: ['a'] } }),
    'at least two values must be defined',
  ],
  [
    'a device plugin and a DRA driver',
    moduleWith(
      {},
      { devicePlugin: { container: { image } }, dra: { container: { image }, driverName: 'a.b' } },
    ),
    'mutually exclusive',
  ],
  ['no image', mapping({ regexp: 'x' }), 'must be set here or at the container'],
  [
    'a build without Dockerfile',
    mapping({ regexp: 'x', containerImage: image, build: {} }),
    'dockerfileConfigMap',
  ],
  ['nothing to sign', mapping({ regexp: 'x', containerImage: image, sign }), 'no image to sign'],
  [
    'in-tree modules at two levels',
    moduleWith({
      inTreeModuleToRemove: 'a',
      kernelMappings: [{ regexp: 'x', containerImage: image, inTreeModulesToRemove: ['b'] }],
    }),
    'mutually exclusive',
  ],
  [
    'a module twice in the loading order',
    moduleWith({ modprobe: { moduleName: 'a', modulesLoadingOrder: ['a', 'b', 'b'] } }),
    'duplicate value in the loading order list',
  ],
  [
    'a toleration of an unknown effect',
    moduleWith({}, { tolerations: [{ key: 'a', operator: 'Exists', effect: 'Sometimes' }] }),
    'spec.tolerations[0]',
  ],
  [
    'a host path of the system',
    moduleWith(
      {},
      {
        devicePlugin: { container: { image }, volumes: [{ name: 'etc', hostPath: { path: '/dev/../etc' } }] },
      },
    ),
    'is not below',
  ],
  [
    'long names with a version',
    moduleWith({ version: '1' }, {}, { name: 'a'.repeat(40) }),
    'name and namespace together',
  ],
];

/** The objects of the documents' examples. */
const examples = readdirSync(new URL('../../../fixtures/documents/', import.meta.url), {
  recursive: true,
  encoding: 'utf8',
})
  .filter((file) => file.endsWith('.yaml'))
  .flatMap((file) =>
    parseAllDocuments(
      readFileSync(new URL(`../../../fixtures/documents/${file}`, import.meta.url), 'utf8'),
    ).map((document) => ({ file, object: document.toJS() as CustomResource })),
  );

function preflight(kernelVersion: string): CustomResource {
  return { metadata: { name: 'preflight' }, spec: { kernelVersion } };
}

function review(object: CustomResource | null): string {
  const typed = object && { apiVersion: 'kmm.sigs.x-k8s.io/v1beta1', kind: 'Module', ...object };
  const admission = { uid: '1', operation: 'CREATE', object: typed };
  return JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request: admission });
}

describeWith(apiServerPrograms, 'the webhook', () => {
  let api: ApiServer;
  let client: ApiClient;
  let port: number;
  let stop: AbortController;
  let running: Promise<unknown>;

  beforeAll(async () => {
    api = await startApiServer();
    client = await api.client();
    await installCustomResources(client);
    await client.request({
      method: 'POST',
      path: '/api/v1/namespaces',
      body: { metadata: { name: namespace } },
    });
  });
  afterAll(() => api[Symbol.asyncDispose]());

  async function start(certificates: { certificateLife?: number; settleTime?: number } = {}, at = port) {
    const configuration = loadConfiguration(`{healthProbeBindAddress: "0", webhookPort: ${at}}`, {
      OPERATOR_NAMESPACE: namespace,
    });
    const kubeconfig = await loadConfig(api.kubeconfig);
    const run = { configuration, kubeconfig, version: 'test', log, signal: stop.signal, webhooks: [] };
    return runWebhook({ ...run, ...certificates });
  }

  beforeEach(async () => {
    stop = new AbortController();
    port = await freePort();
    await client.create(
      validatingWebhookConfigurations,
      webhookConfiguration(webhookObjects.configuration, port),
    );
    await client.delete(secrets, secret).catch(() => {});
  });
  afterEach(async () => {
    stop.abort();
    await running;
    await client.delete(validatingWebhookConfigurations, configurationKey);
  });

  /** Waits until the API server asks the webhook and trusts it. */
  async function isAsked(): Promise<void> {
    await vi.waitFor(async () => {
      const refused = client.create(modules, mapping({ regexp: '(', containerImage: image }), {
        dryRun: true,
      });
      await expect(refused).rejects.toThrow('invalid regexp');
    }, waiting);
  }

  const authorities = async (): Promise<string[]> => {
    const { data = {} } = await client.get(secrets, secret);
    const bundle = Buffer.from(data['ca.crt'] ?? '', 'base64').toString('utf8');
    return bundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  };

  /** Asks the webhook itself. */
  async function ask(body: string, options: { method?: string; path?: string } = {}) {
    const path = '/validate-kmm-sigs-x-k8s-io-v1beta1-module';
    const [ca = ''] = await authorities();
    const sent = request({ host: '127.0.0.1', port, ca, agent: false, method: 'POST', path, ...options });
    sent.on('error', () => {});
    sent.end(body);
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    return { status: response.statusCode, body: await text(response).catch(() => '') };
  }

  it('refuses what the rules name, and lets everything else through', async () => {
    running = start();
    await isAsked();
    for (const [what, object, reason] of broken) {
      await expect(client.create(modules, object, { dryRun: true })).rejects.toThrow(/invalid|denied/);
      const { body } = await ask(review(object));
      const { response } = JSON.parse(body) as { response: { status?: { message: string } } };
      expect([what, response.status?.message]).toEqual([what, expect.stringContaining(reason)]);
    }
    for (const { file, object } of examples.filter(({ object: { kind } }) => kind === 'Module')) {
      // Some of the documents have <placeholders> for names.
      const metadata = { name: 'example', namespace: 'default' };
      const outcome = await client.create(modules, { ...object, metadata }, { dryRun: true }).then(
        () => 'accepted',
        () => 'refused',
      );
      expect([file, outcome]).toEqual([file, file.includes('4.10.3') ? 'refused' : 'accepted']);
    }
    const clusterModules = examples.filter(({ object: { kind } }) => kind === 'ManagedClusterModule');
    for (const { object } of clusterModules) {
      await client.create(
        managedClusterModules,
        { ...object, metadata: { name: 'example' } },
        { dryRun: true },
      );
    }
    await expect(
      client.create(
        managedClusterModules,
        {
          metadata: { name: 'broken' },
          spec: {
            selector: {},
            spokeNamespace: 'default',
            moduleSpec: mapping({ regexp: '(', containerImage: image }).spec,
          },
        },
        { dryRun: true },
      ),
    ).rejects.toThrow('spec.moduleSpec.moduleLoader.container.kernelMappings[0].regexp: invalid regexp');
    await client.create(preflightValidations, preflight('6.1.0-18-amd64'), { dryRun: true });
    await expect(client.create(preflightValidations, preflight('6.1'), { dryRun: true })).rejects.toThrow(
      'is not a kernel version',
    );
  });

  it('looks at what a Module was, and lets one go that it would refuse', async () => {
    const key = { namespace: 'default', name: 'old' };
    const old = mapping({ regexp: '(', containerImage: image });
    const finalizers = ['kmm.node.kubernetes.io/test'];
    // No webhook yet: rules may be newer than Modules.
    await client.delete(validatingWebhookConfigurations, configurationKey);
    await client.create(modules, { ...old, metadata: { ...key, finalizers } });
    await client.create(
      validatingWebhookConfigurations,
      webhookConfiguration(webhookObjects.configuration, port),
    );
    running = start();
    await isAsked();
    await client.patch(modules, key, { metadata: { labels: { a: 'b' } } });
    await expect(client.patch(modules, key, { spec: { selector: { a: 'b' } } })).rejects.toThrow(
      'invalid regexp',
    );
    await client.delete(modules, key);
    await client.patch(modules, key, { metadata: { finalizers: [] } });
    await expect(client.get(modules, key)).rejects.toThrow('not found');

    const versioned = { namespace: 'default', name: 'example' };
    await client.create(modules, moduleWith({ version: '1' }));
    await expect(
      client.patch(modules, versioned, { spec: { moduleLoader: { container: { version: null } } } }),
    ).rejects.toThrow('cannot update to or from an empty version');
    await client.delete(modules, versioned);
  });

  it('keeps namespaces with Modules in them', async () => {
    running = start();
    await isAsked();
    const remove = (name: string) =>
      client.request({ method: 'DELETE', path: `/api/v1/namespaces/${name}`, body: {} });
    const create = (name: string) =>
      client.request({
        method: 'POST',
        path: '/api/v1/namespaces',
        body: { metadata: { name, labels: { 'kmm.node.k8s.io/contains-modules': '' } } },
      });
    await create('full');
    await create('empty');
    await client.create(modules, { ...moduleWith({}), metadata: { namespace: 'full', name: 'example' } });
    await expect(remove('full')).rejects.toThrow('namespace contains one or more Module resources');
    await remove('empty');
    await client.delete(modules, { namespace: 'full', name: 'example' });
    await remove('full');
  });

  it('goes on while it renews its certificates', async () => {
    running = start({ certificateLife: 9000, settleTime: 1000 });
    await isAsked();
    const first = await authorities();
    expect(first).toHaveLength(1);
    const seen = new Set(first);
    // Not one request fails, whichever certificate is shown at that moment.
    while (seen.size < 3) {
      await expect(
        client.create(modules, mapping({ regexp: '(', containerImage: image }), { dryRun: true }),
      ).rejects.toThrow('invalid regexp');
      const trusted = await authorities();
      for (const authority of trusted) seen.add(authority);
      // The one before is trusted as long as it is valid; the one before that no longer is.
      expect(trusted.length).toBe(Math.min(seen.size, 2));
    }
    // The next renewal may come between the two looks.
    await vi.waitFor(async () => {
      const { webhooks = [] } = await client.get(validatingWebhookConfigurations, configurationKey);
      const { data = {} } = await client.get(secrets, secret);
      expect(new Set(webhooks.map(({ clientConfig }) => clientConfig.caBundle))).toEqual(
        new Set([data['ca.crt']]),
      );
    }, 20_000);
  });

  it('agrees with a second replica, and mends what others break', async () => {
    running = Promise.all([start(), start({}, await freePort())]);
    await isAsked();
    const before = await client.get(secrets, secret);
    const { webhooks = [], ...rest } = await client.get(validatingWebhookConfigurations, configurationKey);
    const withoutBundle = webhooks.map(({ clientConfig: { url }, ...webhook }) => ({
      ...webhook,
      clientConfig: url === undefined ? {} : { url },
    }));
    await client.replace(validatingWebhookConfigurations, { ...rest, webhooks: withoutBundle });
    await vi.waitFor(async () => {
      const mended = await client.get(validatingWebhookConfigurations, configurationKey);
      expect(
        mended.webhooks?.every(({ clientConfig }) => clientConfig.caBundle === before.data?.['ca.crt']),
      ).toBe(true);
    }, waiting);
    await isAsked();
    expect((await client.get(secrets, secret)).data).toEqual(before.data);
  });

  it('answers 400 to what is no AdmissionReview, and takes no more than it must', async () => {
    running = start();
    await isAsked();
    const nested = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
    const deep = review(null).replace('null', nested);
    for (const body of ['', '{', '[]', 'null', '{"kind":"AdmissionReview"}', deep]) {
      expect([body.slice(0, 100), (await ask(body)).status]).toEqual([body.slice(0, 100), 400]);
    }
    expect((await ask(review(null))).body).toContain('"allowed":false');
    expect((await ask(' '.repeat(9 * 1024 * 1024))).status).toBe(413);
    expect((await ask('', { method: 'GET' })).status).toBe(405);
    expect((await ask('', { path: '/other' })).status).toBe(404);
    await isAsked();
  });
});
