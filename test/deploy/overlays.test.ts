import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { apiServerPrograms, startApiServer, type ApiServer } from '../support/api-server.ts';
import { describeWith } from '../support/programs.ts';
import { customResourceDefinitions } from '../../src/api/crd/definitions.ts';
import {
  deployDirectory,
  parseManifests,
  renderChart,
  renderOverlay,
  run,
  runWithWarnings,
  type Manifest,
} from './manifests.ts';

const overlays = readdirSync(`${deployDirectory}overlays`);
/** cert-manager's own resources: its definitions are not on a bare API server. */
const isOfCertManager = ({ apiVersion }: Manifest): boolean => apiVersion.startsWith('cert-manager.io/');

describeWith([...apiServerPrograms, 'kubectl', 'helm'], 'a bare API server', () => {
  let api: ApiServer;
  beforeAll(async () => {
    api = await startApiServer();
    await kubectl(['create', 'namespace', 'openshift']);
  });
  afterAll(async () => api?.[Symbol.asyncDispose]());

  const kubectl = (args: string[], input?: string): Promise<string> =>
    run('kubectl', ['--kubeconfig', api.kubeconfig, ...args], input);
  const helm = (namespace: string, ...args: string[]): Promise<string> =>
    run('helm', [...args, '--kubeconfig', api.kubeconfig, '--namespace', namespace]);
  /** Applies objects and gives what the API server warns of. */
  const apply = async (objects: Manifest[], ...options: string[]): Promise<string> => {
    const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
    const command = ['apply', '--server-side', '--validate=strict', ...options, '-f', '-'];
    return (await runWithWarnings('kubectl', ['--kubeconfig', api.kubeconfig, ...command], list)).stderr;
  };

  it.each(overlays)('takes the overlay %s without a warning or a field that it does not know', async (name) => {
    const objects = await renderOverlay(name);
    expect(objects.some(({ kind }) => kind === 'Deployment')).toBe(true);
    expect(await apply(objects.filter((object) => !isOfCertManager(object)))).toBe('');
  });

  it.each(['crds', 'hub-crds'])('takes the definitions in %s without a warning', async (folder) => {
    const command = ['apply', '--server-side', '--force-conflicts', '-k', `${deployDirectory}${folder}`];
    expect(await runWithWarnings('kubectl', ['--kubeconfig', api.kubeconfig, ...command])).toMatchObject({
      stderr: '',
    });
  });

  it('warns of a format in a definition that Kubernetes does not know', async () => {
    const text = JSON.stringify(customResourceDefinitions()[0]);
    const [definition] = parseManifests(
      text.replace('"observedGeneration":{"type":"integer"', '$&,"format":"int63"'),
    );
    expect(await apply(definition === undefined ? [] : [definition], '--force-conflicts')).toContain(
      'unrecognized format "int63"',
    );
  });

  it('refuses the same with a field that is wrong', async () => {
    const objects = await renderOverlay('kubernetes');
    const wrong = objects.map((object) =>
      object.kind === 'NetworkPolicy' ? { ...object, spec: { ...object.spec, podSelectors: {} } } : object,
    );
    await expect(apply(wrong)).rejects.toThrow('podSelectors');
  });

  it.each([
    ['kubernetes', 'kmm-operator', 'kmm-operator-system'],
    ['hub', 'kmm-operator-hub', 'kmm-operator-hub'],
  ])('takes the overlay %s twice, and keeps the certificate between', async (overlay, prefix, namespace) => {
    const command = ['apply', '--server-side', '-k', `${deployDirectory}overlays/${overlay}`];
    await kubectl(command);
    const secret = ['secret', `${prefix}-webhook-certificate`, '--namespace', namespace];
    const configuration = [`validatingwebhookconfiguration/${prefix}-validating-webhook-configuration`];
    await kubectl(['patch', ...secret, '--patch', '{"stringData":{"tls.crt":"made"}}']);
    const bundle = [{ op: 'add', path: '/webhooks/0/clientConfig/caBundle', value: await authority() }];
    await kubectl(['patch', ...configuration, '--type=json', '--patch', JSON.stringify(bundle)]);
    await kubectl(command);
    expect(await kubectl(['get', ...secret, '--output=jsonpath={.data.tls\\.crt}'])).toBe('bWFkZQ==');
    expect(
      await kubectl(['get', ...configuration, '--output=jsonpath={.webhooks[0].clientConfig.caBundle}']),
    ).toBe(await authority());
  });

  /** Any certificate: the API server refuses a bundle without one. */
  async function authority(): Promise<string> {
    const path = '--output=jsonpath={.clusters[0].cluster.certificate-authority-data}';
    return kubectl(['config', 'view', '--raw', '--flatten', path]);
  }

  it('lets operators and their webhooks run under pod security "restricted"', async () => {
    await kubectl(['create', 'namespace', 'restricted']);
    await kubectl(['label', 'namespace', 'restricted', 'pod-security.kubernetes.io/enforce=restricted']);
    const rendered = await Promise.all([renderOverlay('kubernetes'), renderOverlay('hub')]);
    const deployments = rendered.flat().filter(({ kind }) => kind === 'Deployment');
    expect(deployments).toHaveLength(4);
    const pods = deployments.map(({ metadata, spec }) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: metadata.name, namespace: 'restricted' },
      spec: spec?.template?.spec,
    }));
    await apply(pods, '--dry-run=server');
  });

  it.each([
    [
      'an operator',
      'kmm-operator-system',
      'references.namespaces={default,kube-system},images.build=registry.example/build,nfd.enabled=true,nfd.image=a',
    ],
    [
      'a spoke',
      'kmm-operator-system',
      'mode=spoke,references.clusterWide=true,workAgent.namespace=agents,workAgent.serviceAccountName=edge-work-sa',
    ],
    [
      'a hub',
      'kmm-operator-hub',
      'mode=hub,configuration.hub.kueueQueue=builds,images.sign=registry.example/sign',
    ],
  ])('takes the chart of %s with everything set', async (_, namespace, settings) => {
    const shared = [
      'openshift.enabled=true,configuration.job.gcDelay=1h,imagePullSecrets={pull}',
      'controller.resources.limits.memory=2Gi,controller.resources.requests.cpu=1',
      'controller.priorityClassName=system-cluster-critical,controller.nodeSelector.role=infra',
      'controller.env[0].name=HTTPS_PROXY,controller.env[0].value=http://proxy.example:3128',
      `image.digest=sha256:${'0'.repeat(64)},image.pullPolicy=Always`,
    ];
    const objects = await renderChart(namespace, ...[settings, ...shared].map((one) => `--set=${one}`));
    expect(objects.map(({ kind }) => kind)).toContain('ConfigMap');
    expect(await apply(objects, '--force-conflicts')).toBe('');
  });

  it('lets Helm install, upgrade and remove the chart, with a hub beside the operator', async () => {
    const chart = `${deployDirectory}chart/kmm-sign`;
    const remove = ['delete', '--ignore-not-found', '--wait=false', '-k'];
    for (const overlay of ['spoke', 'hub']) await kubectl([...remove, `${deployDirectory}overlays/${overlay}`]);
    // Helm would find definitions that are still being deleted.
    for (const folder of ['crds', 'hub-crds'])
      await kubectl(['delete', '--ignore-not-found', '-k', `${deployDirectory}${folder}`]);
    await kubectl(['delete', 'rolebinding,role', '--all', '--namespace', 'openshift']);
    await kubectl(['delete', 'rolebinding', '--all', '--namespace', 'kube-system']);
    await helm('by-helm', 'install', 'kmm-sign', chart, '--create-namespace');
    await helm('hub-by-helm', 'install', 'kmm-sign-hub', chart, '--create-namespace', '--set', 'mode=hub');
    const secret = ['secret', 'kmm-operator-hub-webhook-certificate', '--namespace', 'hub-by-helm'];
    await kubectl(['patch', ...secret, '--patch', '{"stringData":{"tls.crt":"made"}}']);
    await helm('hub-by-helm', 'upgrade', 'kmm-sign-hub', chart, '--set', 'mode=hub,controller.replicas=2');
    expect(await kubectl(['get', ...secret, '--output=jsonpath={.data.tls\\.crt}'])).toBe('bWFkZQ==');
    // A cluster that comes under a hub.
    await helm('by-helm', 'upgrade', 'kmm-sign', chart, '--set', 'mode=spoke');
    expect(await kubectl(['get', 'clusterrole', '--output=name'])).toContain('kmm-module-manager');
    // It was here before, by its overlay. Its definitions stay, since its objects would be deleted with them.
    await helm('by-helm', 'upgrade', 'kmm-sign', chart, '--set', 'nfd.enabled=true', '--take-ownership', '--force-conflicts');
    await helm('hub-by-helm', 'uninstall', 'kmm-sign-hub');
    expect(await kubectl(['get', 'clusterrole', '--output=name'])).toContain('kmm-operator-controller');
    await helm('by-helm', 'uninstall', 'kmm-sign');
    const left = await kubectl(['get', 'clusterrole,clusterrolebinding', '--all-namespaces', '--output=name']);
    expect(left).not.toMatch(
      /kmm-operator-(hub-)?(controller|webhook)|kmm-module-manager|klusterlet|nfd-controller/,
    );
    const kept = ['crd', 'nodefeatures.nfd.k8s-sigs.io', 'nodefeaturediscoveries.nfd.openshift.io'];
    const deletions = '--output=jsonpath={.items[*].metadata.deletionTimestamp}';
    expect(await kubectl(['get', ...kept, deletions])).toBe('');
  });
});
