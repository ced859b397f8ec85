import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { daemonSets, modules } from '../../../src/controller/observe/cluster/resources.ts';
import { leases } from '../../../src/controller/runtime/leader/lease.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { listAll } from '../../../src/controller/runtime/api/list.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../src/shared/temporary.ts';
import { clusterClaims } from '../../../src/controller/spoke/claim-publisher.ts';
import { createNamespace, createNode } from '../../controller/module/cluster-objects.ts';
import { logged, startOperator } from '../../controller/operator/start-operator.ts';
import { writeKubeconfig } from '../../end-to-end/operator-process.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../../support/api-server.ts';
import { createAuthority } from '../../support/certificates.ts';
import { installDefinitions } from '../../support/custom-resources.ts';
import { readDefinitions } from '../../support/hub/crds.ts';
import { freePort, type RunningProcess } from '../../support/processes.ts';
import { describeWith } from '../../support/programs.ts';
import { run } from '../manifests.ts';
import { installBundle, operatorImage, readBundle, writeBundles, type ServiceVersion } from './lifecycle-manager.ts';

const waiting = { timeout: 40_000, interval: 50 };
const namespace = 'openshift-kmm';
const hubNamespace = 'openshift-kmm-hub';
const kernel = '5.14.0-427.13.1.el9_4.x86_64';
const settings = (port: number): string =>
  `{ healthProbeBindAddress: '0', metrics: { bindAddress: '0' }, webhook: { port: ${port} } }`;
const devicePlugin = { selector: {}, devicePlugin: { container: { image: 'registry.example/plugin:1' } } };

describeWith([...apiServerPrograms, 'kubectl'], 'as the Operator Lifecycle Manager installs the bundles,', () => {
  let api: ApiServer;
  let client: ApiClient;
  let directory: TemporaryDirectory;
  let versions: Record<'operator' | 'hub', ServiceVersion>;
  let certificates: string;
  const started: RunningProcess[] = [];
  const ports = { operator: 0, hub: 0 };
  const kubectl = (...args: string[]): Promise<string> => run('kubectl', ['--kubeconfig', api.kubeconfig, ...args]);

  beforeAll(async () => {
    api = await startApiServer();
    client = await api.client();
    directory = await createTemporaryDirectory();
    await installDefinitions(client, readDefinitions('ocm-crds'));
    const authority = await createAuthority(join(directory.path, 'authority'));
    const { certificate, key } = await authority.issueServer('webhook');
    certificates = join(directory.path, 'certificates');
    await mkdir(certificates);
    await copyFile(certificate, join(certificates, 'tls.crt'));
    await copyFile(key, join(certificates, 'tls.key'));
    await writeBundles(join(directory.path, 'olm'));
    const operator = await readBundle(join(directory.path, 'olm/kernel-module-management'));
    const hub = await readBundle(join(directory.path, 'olm/kernel-module-management-hub'));
    versions = { operator: operator.csv, hub: hub.csv };
    const caBundle = (await readFile(authority.certificate)).toString('base64');
    for (const [kind, bundle, within] of [
      ['operator', operator, namespace],
      ['hub', hub, hubNamespace],
    ] as const) {
      ports[kind] = await freePort();
      await installBundle(bundle, {
        kubeconfig: api.kubeconfig,
        namespace: within,
        caBundle,
        webhookUrl: (path) => `https://127.0.0.1:${ports[kind]}${path}`,
      });
    }
  });
  afterAll(async () => {
    for (const program of started) await program.stop('SIGKILL');
    await directory?.[Symbol.asyncDispose]();
    await api?.[Symbol.asyncDispose]();
  });

  /** Starts what a Deployment of a ClusterServiceVersion runs, with the rights of its account. */
  async function start(kind: 'operator' | 'hub', component: string, more: Record<string, string> = {}) {
    const within = kind === 'hub' ? hubNamespace : namespace;
    const all = versions[kind].spec.install.spec.deployments;
    const deployment = all.find(({ label }) => label['app.kubernetes.io/component'] === component);
    if (deployment === undefined) throw new Error(`there is no ${component}`);
    const { serviceAccountName: name, containers } = deployment.spec.template.spec;
    const [{ args, env }] = containers;
    const token = await kubectl('create', 'token', name, '--namespace', within);
    const kubeconfig = join(directory.path, `${name}.kubeconfig`);
    await writeKubeconfig(kubeconfig, { like: api.kubeconfig, token: token.trim() });
    const config = join(directory.path, `${name}.yaml`);
    await writeFile(config, settings(ports[kind]));
    const variables = env.flatMap((one) => (one.value === undefined ? [] : [[one.name, one.value] as const]));
    const program = startOperator({
      args: [...args.filter((argument) => !argument.startsWith('--config=')), '--config', config, '--kubeconfig', kubeconfig],
      directory: directory.path,
      name,
      namespace: within,
      environment: { ...Object.fromEntries(variables), ...more },
    });
    started.push(program);
    return program;
  }

  it('have the names that the documents use', async () => {
    const found = await kubectl('get', '-n', namespace, 'deployments.apps', 'kmm-operator-controller-manager');
    expect(found).toContain('kmm-operator-controller-manager');
    const path =
      '-ojsonpath={.spec.template.spec.containers[?(@.name=="manager")].env[?(@.name=="RELATED_IMAGES_MUST_GATHER")].value}';
    const own = ['get', 'deployment', '-n', namespace, 'kmm-operator-controller-manager', path];
    const hub = ['get', 'deployment', '-n', hubNamespace, 'kmm-operator-hub-controller-manager', path];
    expect([await kubectl(...own), await kubectl(...hub)]).toEqual([operatorImage, operatorImage]);
  });

  it('the webhook uses the certificate that is mounted for it, and refuses a Module that breaks the rules', async () => {
    const webhook = await start('operator', 'webhook', { WEBHOOK_CERTIFICATE_DIRECTORY: certificates });
    await logged(webhook, 'webhook started');
    await createNamespace(client, 'drivers');
    const module = { metadata: { namespace: 'drivers', name: 'plugin' }, spec: devicePlugin };
    const wrong = { name: 'etc', hostPath: { path: '/etc/shadow' } };
    const refused = { ...module, spec: { ...devicePlugin, devicePlugin: { ...devicePlugin.devicePlugin, volumes: [wrong] } } };
    // The API server takes up a new webhook a little later.
    await vi.waitFor(async () => {
      const creating = client.create(modules, refused, { dryRun: true });
      await expect(creating).rejects.toThrow('/etc/shadow is not below');
    }, waiting);
    await client.create(modules, module);
    expect(webhook.output()).not.toContain('FORBIDDEN');
  });

  it('the operator of a spoke leads, acts on a Module, publishes kernels, and misses no right', async () => {
    await createNode(client, { name: 'node-1', kernel });
    const operator = await start('operator', 'controller', { KMM_MANAGED: '1' });
    await logged(operator, 'started leading');
    expect(await client.get(leases, { namespace, name: 'kmm.sigs.x-k8s.io' })).toBeDefined();
    const claim = { name: 'kernel-versions.kmm.node.kubernetes.io' };
    await vi.waitFor(async () => {
      expect(await listAll(client, daemonSets, { namespace: 'drivers' })).toHaveLength(1);
      expect(await client.get(clusterClaims, claim)).toMatchObject({ spec: { value: kernel } });
    }, waiting);
    await operator.stop('SIGTERM');
    expect([operator.exitCode, operator.output()]).toEqual([0, expect.not.stringContaining('FORBIDDEN')]);
  });

  it('the operator of a hub leads, and misses no right', async () => {
    const hub = await start('hub', 'controller');
    await logged(hub, 'started leading');
    expect(await client.get(leases, { namespace: hubNamespace, name: 'kmm-hub.sigs.x-k8s.io' })).toBeDefined();
    await hub.stop('SIGTERM');
    expect([hub.exitCode, hub.output()]).toEqual([0, expect.not.stringContaining('FORBIDDEN')]);
  });
});
