import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import {
  checkDefinitions,
  describeOutdated,
  findOutdatedDefinitions,
} from '../../../src/controller/kmm-migration/definitions.ts';
import { reportDefinitions } from '../../../src/controller/kmm-migration/pod-condition.ts';
import { pods } from '../../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { silentLogger } from '../../../src/shared/logger.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../../support/api-server.ts';
import { installCustomResources, installDefinitions } from '../../support/custom-resources.ts';
import { describeWith } from '../../support/programs.ts';
import { moduleDefinitionOfKmm } from './definition-of-kmm.ts';

const ofCluster = [
  'modules.kmm.sigs.x-k8s.io',
  'nodemodulesconfigs.kmm.sigs.x-k8s.io',
  'bootmoduleconfigs.kmm.sigs.x-k8s.io',
  'preflightvalidations.kmm.sigs.x-k8s.io',
  'preflightvalidationsocp.kmm.sigs.x-k8s.io',
];
const waiting = { timeout: 20_000, interval: 100 };

describeWith(apiServerPrograms, 'the definitions in a cluster', () => {
  let api: ApiServer;
  let client: ApiClient;
  beforeAll(async () => {
    api = await startApiServer();
    client = await api.client();
  });
  afterAll(() => api?.[Symbol.asyncDispose]());

  it('are missing where nobody has applied them, those of a cluster or of a hub', async () => {
    const missing = await findOutdatedDefinitions(client, 'cluster');
    expect(missing).toEqual(ofCluster.map((name) => ({ name, missing: [] })));
    expect((await findOutdatedDefinitions(client, 'hub')).map(describeOutdated)).toEqual([
      'The definition managedclustermodules.hub.kmm.sigs.x-k8s.io is missing. Apply that of this version: ' +
        'kubectl apply --server-side --force-conflicts -k deploy/hub-crds',
    ]);
  });

  it('are reported once, in sentences and as a metric, until they are as they should be', async () => {
    await installDefinitions(client, [moduleDefinitionOfKmm()]);
    const stop = new AbortController();
    const registry = new Registry();
    const sentences: string[] = [];
    const onOutdated = (sentence: string) => sentences.push(sentence);
    const pod = { namespace: 'default', name: 'kmm-operator-controller-0' };
    const container = { name: 'manager', image: 'r.example/operator:1' };
    await client.create(pods, { metadata: pod, spec: { containers: [container] } });
    const initial = [{ type: 'Ready', status: 'True' }];
    await client.patch(pods, pod, { status: { conditions: initial } }, { subresource: 'status' });
    const conditions = async () => (await client.get(pods, pod)).status?.conditions;
    const options = {
      client,
      registry,
      report: (all: readonly string[]) => reportDefinitions(client, pod, all, { signal: stop.signal }),
      log: silentLogger,
      of: 'cluster',
      onOutdated,
      interval: 100,
    } as const;
    const running = checkDefinitions(options, stop.signal);
    await vi.waitFor(() => {
      expect(sentences).toContain(
        'The definition modules.kmm.sigs.x-k8s.io is of KMM or of an earlier version: it lacks status.conditions ' +
          'and 1 more fields. Apply that of this version: kubectl apply --server-side --force-conflicts -k deploy/crds',
      );
    }, waiting);
    expect(await registry.metrics()).toContain(
      'kmm_outdated_definition{definition="modules.kmm.sigs.x-k8s.io"} 1',
    );
    await vi.waitFor(async () => {
      expect(await conditions()).toMatchObject([
        ...initial,
        {
          type: 'kmm.sigs.x-k8s.io/DefinitionsUpToDate',
          status: 'False',
          reason: 'OutdatedDefinition',
          message: expect.stringContaining(
            'Apply that of this version: kubectl apply --server-side --force-conflicts -k deploy/crds',
          ),
        },
      ]);
    }, waiting);
    await installCustomResources(client);
    await running;
    expect(await conditions()).toMatchObject([...initial, { status: 'True', reason: 'UpToDate' }]);
    expect(await registry.metrics()).not.toContain('kmm_outdated_definition{');
    expect(sentences).toHaveLength(new Set(sentences).size);
    stop.abort();
  });
});
