import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { apiServerPrograms, startApiServer, type ApiServer } from '../support/api-server.ts';
import { describeWith } from '../support/programs.ts';
import { deployDirectory, nameOf, renderChart, renderOverlay, run, type Manifest } from './manifests.ts';

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
  const apply = async (objects: Manifest[], ...options: string[]): Promise<void> => {
    const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
    await kubectl(['apply', '--server-side', '--validate=strict', ...options, '-f', '-'], list);
  };

  it.each(overlays)('takes the overlay %s without a field that it does not know', async (name) => {
    const objects = await renderOverlay(name);
    expect(objects.some(({ kind }) => kind === 'Deployment')).toBe(true);
    await apply(objects.filter((object) => !isOfCertManager(object)));
  });

  it('refuses the same with a field that is wrong', async () => {
    const objects = await renderOverlay('kubernetes');
    const wrong = objects.map((object) =>
      object.kind === 'NetworkPolicy' ? { ...object, spec: { ...object.spec, podSelectors: {} } } : object,
    );
    await expect(apply(wrong)).rejects.toThrow('podSelectors');
  });

  it('takes what the documentation applies, twice, and keeps the certificate between', async () => {
    const command = ['apply', '--server-side', '-k', `${deployDirectory}overlays/kubernetes`];
    await kubectl(command);
    const secret = ['secret', 'kmm-operator-webhook-certificate', '--namespace', 'kmm-operator-system'];
    const configuration = ['validatingwebhookconfiguration/kmm-operator-validating-webhook-configuration'];
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

  it('lets the operator and its webhook run under pod security "restricted"', async () => {
    await kubectl(['create', 'namespace', 'restricted']);
    await kubectl(['label', 'namespace', 'restricted', 'pod-security.kubernetes.io/enforce=restricted']);
    const deployments = (await renderOverlay('kubernetes')).filter(({ kind }) => kind === 'Deployment');
    expect(deployments).toHaveLength(2);
    const pods = deployments.map(({ metadata, spec }) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: metadata.name, namespace: 'restricted' },
      spec: spec?.template?.spec,
    }));
    await apply(pods, '--dry-run=server');
  });

  it('takes the chart with everything set', async () => {
    const settings = [
      'references.namespaces={default,kube-system},openshift.enabled=true,managed=true',
      'configuration.job.gcDelay=1h,imagePullSecrets={pull},images.build=registry.example/build',
      'controller.priorityClassName=system-cluster-critical,controller.nodeSelector.role=infra',
      'controller.env[0].name=HTTPS_PROXY,controller.env[0].value=http://proxy.example:3128',
      `image.digest=sha256:${'0'.repeat(64)},image.pullPolicy=Always`,
    ];
    const objects = await renderChart('kmm-operator-system', ...settings.map((one) => `--set=${one}`));
    expect(objects.map(nameOf)).toContain('v1 ConfigMap kmm-operator-system kmm-operator-manager-config');
    await apply(objects, '--force-conflicts');
  });

  it('lets Helm install, upgrade and remove the chart', async () => {
    const options = ['--kubeconfig', api.kubeconfig, '--namespace', 'by-helm'];
    const helm = (...args: string[]): Promise<string> => run('helm', [...args, ...options]);
    const chart = `${deployDirectory}chart/kmm-sign`;
    await kubectl(['delete', '--ignore-not-found', '-k', `${deployDirectory}overlays/kubernetes`, '--wait=false']);
    await kubectl(['delete', 'rolebinding', '--all', '--namespace', 'openshift']);
    await helm('install', 'kmm-sign', chart, '--create-namespace');
    const secret = ['secret', 'kmm-operator-webhook-certificate', '--namespace', 'by-helm'];
    await kubectl(['patch', ...secret, '--patch', '{"stringData":{"tls.crt":"made"}}']);
    await helm('upgrade', 'kmm-sign', chart, '--set', 'controller.replicas=2');
    expect(await kubectl(['get', ...secret, '--output=jsonpath={.data.tls\\.crt}'])).toBe('bWFkZQ==');
    await helm('uninstall', 'kmm-sign');
    expect(await kubectl(['get', 'clusterrole', '--output=name'])).not.toContain('kmm-operator-controller');
  });
});
