import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { parse, stringify } from 'yaml';
import {
  daemonSets,
  modules,
  validatingWebhookConfigurations,
} from '../../src/controller/observe/cluster/resources.ts';
import { managedClusterModules } from '../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { managedClusters } from '../../src/controller/hub/fleet/managed-clusters.ts';
import { manifestWorks } from '../../src/controller/hub/fleet/manifest-works.ts';
import { leases } from '../../src/controller/runtime/leader/lease.ts';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../src/shared/temporary.ts';
import { createNode } from '../controller/module/cluster-objects.ts';
import { logged, startOperator } from '../controller/operator/start-operator.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../support/api-server.ts';
import { installDefinitions } from '../support/custom-resources.ts';
import { readDefinitions } from '../support/hub/crds.ts';
import { namespaces } from '../support/namespaces.ts';
import { freePort, type RunningProcess } from '../support/processes.ts';
import { describeWith } from '../support/programs.ts';
import { deployDirectory, run } from './manifests.ts';
import { clusterClaims } from '../../src/controller/spoke/claim-publisher.ts';

const waiting = { timeout: 40_000, interval: 50 };
const webhooksName = 'kmm-operator-hub-validating-webhook-configuration';
const kernel = '6.1.0-13-amd64';
const withoutServers = "{ healthProbeBindAddress: '0', metrics: { bindAddress: '0' } }";
/** A Module's spec that takes no registry. */
const devicePlugin = { selector: {}, devicePlugin: { container: { image: 'registry.example/plugin:1' } } };

/** A ManagedClusterModule, as a manifest has it. */
function driver(regexp: string): string {
  return JSON.stringify({
  apiVersion: 'hub.kmm.sigs.x-k8s.io/v1beta1',
  kind: 'ManagedClusterModule',
  metadata: { name: 'driver' },
  spec: {
    selector: {},
    spokeNamespace: 'drivers',
    moduleSpec: {
      selector: {},
      moduleLoader: {
        container: {
          modprobe: { moduleName: 'driver' },
          kernelMappings: [{ regexp, containerImage: 'registry.example/driver:1' }],
        },
      },
    },
  },
});
}

describeWith([...apiServerPrograms, 'kubectl'], 'as the overlays install them,', () => {
  let api: ApiServer;
  let client: ApiClient;
  let directory: TemporaryDirectory;
  const started: RunningProcess[] = [];
  const kubectl = (args: readonly string[], input?: string): Promise<string> =>
    run('kubectl', ['--kubeconfig', api.kubeconfig, ...args], input);

  beforeAll(async () => {
    api = await startApiServer();
    client = await api.client();
    directory = await createTemporaryDirectory();
    await installDefinitions(client, readDefinitions('ocm-crds'));
    for (const overlay of ['hub', 'spoke'])
      await kubectl(['apply', '--server-side', '-k', `${deployDirectory}overlays/${overlay}`]);
  });
  afterAll(async () => {
    for (const program of started) await program.stop('SIGKILL');
    await directory?.[Symbol.asyncDispose]();
    await api?.[Symbol.asyncDispose]();
  });

  /** Starts kmm-operator with the rights of an account. */
  async function startAs(
    { namespace, account }: { readonly namespace: string; readonly account: string },
    { args, text, environment = {} }: { args: string[]; text: string; environment?: Record<string, string> },
  ) {
    const token = await kubectl(['create', 'token', account, '--namespace', namespace]);
    const config = parse(await readFile(api.kubeconfig, 'utf8')) as object;
    const kubeconfig = join(directory.path, `${account}.kubeconfig`);
    const users = [{ name: 'admin', user: { token: token.trim() } }];
    await writeFile(kubeconfig, stringify({ ...config, users }), { mode: 0o600 });
    const file = join(directory.path, `${account}.yaml`);
    await writeFile(file, text);
    const program = startOperator({
      args: [...args, '--config', file, '--kubeconfig', kubeconfig],
      directory: directory.path,
      name: account,
      namespace,
      environment,
    });
    started.push(program);
    return program;
  }

  it("a hub's webhook makes its certificate, tells the API server of it, and refuses what the hub cannot do", async () => {
    const port = await freePort();
    // Nothing routes services here.
    const path = '/validate-hub-kmm-sigs-x-k8s-io-v1beta1-managedclustermodule';
    const patch = [
      { op: 'remove', path: '/webhooks/0/clientConfig/service' },
      { op: 'add', path: '/webhooks/0/clientConfig/url', value: `https://127.0.0.1:${port}${path}` },
    ];
    const configuration = ['validatingwebhookconfiguration', webhooksName];
    await kubectl(['patch', ...configuration, '--type=json', '--patch', JSON.stringify(patch)]);
    const webhook = await startAs(
      { namespace: 'kmm-operator-hub', account: 'kmm-operator-hub-webhook' },
      {
        args: ['webhook', '--enable-managedclustermodule'],
        text: `{ healthProbeBindAddress: '0', webhook: { port: ${port} } }`,
      },
    );
    await logged(webhook, 'webhook started');
    await vi.waitFor(async () => {
      const { webhooks = [] } = await client.get(validatingWebhookConfigurations, { name: webhooksName });
      expect(webhooks[0]?.clientConfig.caBundle).toBeDefined();
    }, waiting);
    // The API server takes up a changed webhook a little later.
    await vi.waitFor(async () => {
      const refused = kubectl(['apply', '--dry-run=server', '-f', '-'], driver('('));
      await expect(refused).rejects.toThrow('invalid regexp');
    }, waiting);
    await kubectl(['apply', '-f', '-'], driver('^.+$'));
    expect(webhook.output()).not.toContain('FORBIDDEN');
    await webhook.stop('SIGTERM');
    expect(webhook.exitCode).toBe(0);
  });

  it('a spoke leads, publishes the kernels of its nodes, acts on Modules, and misses no right', async () => {
    await createNode(client, { name: 'node-1', kernel });
    const namespace = 'kmm-operator-system';
    const environment = { KMM_MANAGED: '1', RELATED_IMAGE_SIGN: 'registry.example/kmm-sign' };
    const account = 'kmm-operator-controller';
    const spoke = await startAs({ namespace, account }, { args: ['run'], text: withoutServers, environment });
    const claim = { name: 'kernel-versions.kmm.node.kubernetes.io' };
    await vi.waitFor(async () => {
      expect(await client.get(clusterClaims, claim)).toMatchObject({ spec: { value: kernel } });
    }, waiting);
    expect(await client.get(leases, { namespace, name: 'kmm.sigs.x-k8s.io' })).toBeDefined();
    // No webhook answers here.
    await kubectl(['delete', 'validatingwebhookconfiguration', 'kmm-operator-validating-webhook-configuration']);
    await client.create(namespaces, { metadata: { name: 'drivers' } });
    const plugin = { namespace: 'drivers', name: 'plugin' };
    await client.create(modules, { metadata: plugin, spec: devicePlugin });
    await vi.waitFor(async () => {
      expect(await listAll(client, daemonSets, { namespace: 'drivers' })).toHaveLength(1);
      expect(await client.get(modules, plugin)).toMatchObject({ status: { conditions: expect.anything() } });
    }, waiting);
    await spoke.stop('SIGTERM');
    expect([spoke.exitCode, spoke.output()]).toEqual([0, expect.not.stringContaining('FORBIDDEN')]);
  });

  it('a hub leads, gives clusters their Module, says so, and misses no right', async () => {
    const namespace = 'kmm-operator-hub';
    await client.create(namespaces, { metadata: { name: 'edge' } });
    await client.create(managedClusters, {
      metadata: { name: 'edge' },
      spec: { hubAcceptsClient: true, leaseDurationSeconds: 60 },
    });
    await kubectl(['delete', '--ignore-not-found', 'validatingwebhookconfiguration', webhooksName]);
    const spec = { selector: {}, spokeNamespace: 'drivers', moduleSpec: devicePlugin };
    await client.create(managedClusterModules, { metadata: { name: 'plugin' }, spec });
    const account = 'kmm-operator-hub-controller';
    const environment = { RELATED_IMAGE_SIGN: 'registry.example/kmm-sign' };
    const hub = await startAs({ namespace, account }, { args: ['hub'], text: withoutServers, environment });
    await vi.waitFor(async () => {
      expect(await client.get(manifestWorks, { namespace: 'edge', name: 'plugin' })).toBeDefined();
      const module = await client.get(managedClusterModules, { name: 'plugin' });
      expect(module).toMatchObject({ status: { numberDesired: 1 } });
    }, waiting);
    expect(await client.get(leases, { namespace, name: 'kmm-hub.sigs.x-k8s.io' })).toBeDefined();
    await hub.stop('SIGTERM');
    expect([hub.exitCode, hub.output()]).toEqual([0, expect.not.stringContaining('FORBIDDEN')]);
  });
});
