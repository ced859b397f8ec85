import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import {
  persistentVolumeClaims,
  serviceAccounts,
} from '../../../src/controller/observe/cluster/resources.ts';
import { freshReferences } from '../../../src/controller/observe/references/fresh-references.ts';
import { usableLayerCache } from '../../../src/controller/image-pipeline/layer-cache.ts';
import type { PipelineSettings } from '../../../src/controller/image-pipeline/request.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { createLogger, jsonLine } from '../../../src/shared/logger.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { createNamespace } from '../module/cluster-objects.ts';
import { recordedClient } from '../observe/references/recorded-client.ts';

const layerCache = { claim: 'layers', fsGroup: undefined };

describeWith(apiServerPrograms, 'the volume for what layers contain', () => {
  let api: ApiServer;
  let admin: ApiClient;
  let namespace: string;
  let count = 0;
  const lines: string[] = [];
  const log = createLogger('info', jsonLine, (line) => void lines.push(line));

  beforeAll(async () => {
    api = await startApiServer();
    admin = await api.client();
  });
  afterAll(() => api?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    namespace = `claims-${count++}`;
    await createNamespace(admin, namespace);
    lines.length = 0;
  });

  const find = (client = admin, settings: Pick<PipelineSettings, 'layerCache'> = { layerCache }) =>
    usableLayerCache({ references: freshReferences(client), settings, log }, { namespace });

  async function createClaim(): Promise<void> {
    const spec = { accessModes: ['ReadWriteMany'], resources: { requests: { storage: '256Mi' } } };
    await admin.create(persistentVolumeClaims, { metadata: { namespace, name: 'layers' }, spec });
  }

  it('is mounted if its claim is there, though it may be waiting for a pod', async () => {
    await createClaim();
    expect(await find()).toEqual(layerCache);
    expect(lines).toEqual([]);
  });

  it('is not looked for unless one is configured', async () => {
    const calls = await recordedClient(api.kubeconfig);
    expect(await find(calls.client, {})).toBeUndefined();
    expect(calls.gets).toEqual([]);
  });

  it('is left out where the namespace has no such claim: its Jobs work without', async () => {
    expect(await find()).toBeUndefined();
    expect(lines).toEqual([expect.stringContaining('no such claim')]);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'info', namespace, claim: 'layers' });
  });

  it('is left out while its claim is being deleted, for which a new pod would wait', async () => {
    await createClaim();
    await admin.delete(persistentVolumeClaims, { namespace, name: 'layers' });
    expect(await find()).toBeUndefined();
    expect(lines).toEqual([expect.stringContaining('the claim is being deleted')]);
  });

  it('is left out if it is lost', async () => {
    await createClaim();
    const status = { status: { phase: 'Lost' } };
    const key = { namespace, name: 'layers' };
    await admin.patch(persistentVolumeClaims, key, status, { subresource: 'status' });
    expect(await find()).toBeUndefined();
    expect(lines).toEqual([expect.stringContaining('is lost')]);
  });

  it('is left out where the operator may not read claims, and the log says how to allow it', async () => {
    await createClaim();
    await admin.create(serviceAccounts, { metadata: { namespace, name: 'operator' } });
    const { status } = (await admin.request({
      method: 'POST',
      path: `/api/v1/namespaces/${namespace}/serviceaccounts/operator/token`,
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} },
    })) as { status: { token: string } };
    const { client } = await recordedClient(api.kubeconfig, status.token);
    expect(await find(client)).toBeUndefined();
    expect(lines).toEqual([
      expect.stringContaining(`kubectl create rolebinding kmm-operator-references -n ${namespace}`),
    ]);
  });
});
