import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { registerKmmMetrics } from '../../src/controller/operator/kmm-metrics.ts';
import { createRuntimeMetrics } from '../../src/controller/runtime/metrics.ts';
import type { KubernetesObject } from '../../src/controller/runtime/api/object-key.ts';
import type { Resource } from '../../src/controller/runtime/api/resource.ts';
import { apiServerPrograms, startApiServer } from '../support/api-server.ts';
import { installDefinitions } from '../support/custom-resources.ts';
import { readDefinitions } from '../support/hub/crds.ts';
import { createNamespace } from '../controller/module/cluster-objects.ts';
import { describeWith } from '../support/programs.ts';
import { chartDirectory, nameOf, renderChart, run } from './manifests.ts';

const namespace = 'kmm-operator-system';
const additions = ['PodDisruptionBudget', 'ServiceMonitor', 'PrometheusRule'];

describeWith(['kubectl', 'helm'], 'what the Helm chart has beyond the overlays', () => {
  it('is off by default', async () => {
    const kinds = (await renderChart(namespace)).map(({ kind }) => kind);
    expect(kinds.filter((kind) => additions.includes(kind))).toEqual([]);
  });

  it('passes the strictest check of Helm', async () => {
    expect(await run('helm', ['lint', '--strict', chartDirectory])).toContain('0 chart(s) failed');
  });

  it.each(['controller', 'webhook'])('are labels, annotations and spread of the pods of the %s', async (of) => {
    const constraint = {
      maxSkew: 1,
      topologyKey: 'kubernetes.io/hostname',
      whenUnsatisfiable: 'DoNotSchedule',
    };
    const objects = await renderChart(
      namespace,
      `--set=${of}.podLabels.team=a,${of}.podAnnotations.note=b`,
      `--set-json=${of}.topologySpreadConstraints=[${JSON.stringify(constraint)}]`,
    );
    const deployment = objects.find(
      ({ kind, metadata }) => kind === 'Deployment' && metadata.name === `kmm-operator-${of}`,
    );
    const matchLabels = { 'app.kubernetes.io/name': 'kmm-operator', 'app.kubernetes.io/component': of };
    expect(deployment?.spec?.template).toMatchObject({
      metadata: { labels: { team: 'a', 'app.kubernetes.io/component': of }, annotations: { note: 'b' } },
      spec: { topologySpreadConstraints: [{ ...constraint, labelSelector: { matchLabels } }] },
    });
  });

  it('has a PodDisruptionBudget for each Deployment with more than one replica', async () => {
    const names = async (...settings: string[]) =>
      (await renderChart(namespace, ...settings))
        .map(nameOf)
        .filter((name) => name.includes('PodDisruption'));
    const budget = `policy/v1 PodDisruptionBudget ${namespace} kmm-operator-`;
    expect(await names('--set=controller.replicas=2')).toEqual([`${budget}controller`]);
    expect(await names('--set=controller.replicas=2,webhook.replicas=3')).toEqual([
      `${budget}controller`,
      `${budget}webhook`,
    ]);
    const without = 'controller.podDisruptionBudget.enabled=false,webhook.enabled=false,webhook.replicas=2';
    expect(await names(`--set=controller.replicas=2,${without}`)).toEqual([]);
  });

  it.each([
    String.raw`controller.podLabels.app\.kubernetes\.io/component=other`,
    'webhook.podAnnotations.checksum/configuration=other',
    'controller.podDisruptionBudget.maxUnavailable=0',
    'monitoring.serviceMonitor.interval=often',
  ])('refuses %s', async (setting) => {
    await expect(renderChart(namespace, '--set', setting)).rejects.toThrow('schema');
  });

  it.each([
    ['controller.image=a:b', 'image.repository and image.tag'],
    ['controller.workerImage=a:b', 'there are no worker pods'],
    ['controller.manager.image.repository=a', 'imagePullSecrets'],
    ['controller.managed=true', 'mode: spoke'],
    ['webhookServer.replicas=2', '(here: webhook)'],
    ['managerConfig.controllerConfigYaml=a', 'configuration, as YAML'],
    ['namePrefix=kmm-', 'names do not depend on values'],
  ])('answers the value %s of KMM’s chart with its own', async (setting, answer) => {
    await expect(renderChart(namespace, '--set', setting)).rejects.toThrow(answer);
  });
});

function monitoring(plural: string, kind: string): Resource {
  return { group: 'monitoring.coreos.com', version: 'v1', plural, kind, namespaced: true };
}

describeWith([...apiServerPrograms, 'kubectl', 'helm'], 'objects for the Prometheus Operator', () => {
  const settings = [
    '--set=monitoring.serviceMonitor.enabled=true,monitoring.prometheusRule.enabled=true',
    '--set=monitoring.serviceMonitor.interval=30s,monitoring.serviceMonitor.labels.release=prometheus',
  ];

  it('are what its definitions allow', async () => {
    await using api = await startApiServer();
    const client = await api.client();
    await installDefinitions(client, readDefinitions('prometheus-operator-crds'));
    await createNamespace(client, namespace);
    const objects = await renderChart(namespace, ...settings);
    const of = (kind: string) => objects.find((object) => object.kind === kind) as KubernetesObject;
    const options = { fieldValidation: 'Strict', force: true } as const;
    const monitors = monitoring('servicemonitors', 'ServiceMonitor');
    const monitor = await client.apply(monitors, of('ServiceMonitor'), options);
    expect(monitor.metadata).toMatchObject({ labels: { release: 'prometheus' } });
    const rules = monitoring('prometheusrules', 'PrometheusRule');
    await client.apply(rules, of('PrometheusRule'), options);
  });

  it('watch the service by labels that it has, and only metrics that exist', async () => {
    const objects = await renderChart(namespace, ...settings);
    const service = objects.find(({ metadata }) => metadata.name.endsWith('-metrics-service'));
    const monitor = objects.find(({ kind }) => kind === 'ServiceMonitor') as unknown as {
      spec: { selector: { matchLabels: object } };
    };
    expect(service?.metadata.labels).toMatchObject(monitor.spec.selector.matchLabels);

    const registry = new Registry();
    createRuntimeMetrics(registry).controller('module', 1);
    registerKmmMetrics(registry, { modules: () => [], preflights: () => 0 });
    const known = new Set((await registry.getMetricsAsJSON()).map(({ name }) => name));
    const rules = JSON.stringify(objects.find(({ kind }) => kind === 'PrometheusRule'));
    const used = [...rules.matchAll(/([a-z_]+)\{job=/g)].map(([, name = '']) => name);
    expect(used).toHaveLength(3);
    expect(used.filter((name) => !known.has(name))).toEqual([]);
  });
});
