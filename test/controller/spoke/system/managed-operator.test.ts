import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { parseModule } from '../../../../src/api/module/module.ts';
import { parsePreflightValidation } from '../../../../src/api/preflight-validation.ts';
import { jobs, modules, preflightValidations } from '../../../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../../../src/controller/runtime/api/client.ts';
import { listAll } from '../../../../src/controller/runtime/api/list.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../../src/shared/temporary.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../../../support/api-server.ts';
import { installCustomResources } from '../../../support/custom-resources.ts';
import { installHubResources } from '../../../support/hub/crds.ts';
import { freePort, type RunningProcess } from '../../../support/processes.ts';
import { describeWith } from '../../../support/programs.ts';
import { createNode, setNodeInfo } from '../../module/cluster-objects.ts';
import { logged, logOf, startOperator } from '../../operator/start-operator.ts';
import { clusterClaims } from '../../../../src/controller/spoke/claim-publisher.ts';

const namespace = 'default';
const kernel = '6.1.0-13-amd64';
const node = { name: 'node-1', kernel };
const waiting = { timeout: 40_000, interval: 50 };
const unknown = 'the API server does not serve a resource; waiting for its definition';

describeWith([...apiServerPrograms, 'ocm-work'], 'kmm-operator run with KMM_MANAGED', () => {
  let api: ApiServer;
  let client: ApiClient;
  let directory: TemporaryDirectory;
  let first: RunningProcess;
  let health: string;
  beforeAll(async () => {
    api = await startApiServer();
    client = await api.client();
    directory = await createTemporaryDirectory();
    await installCustomResources(client);
    await createNode(client, { ...node, labels: { worker: 'true' } });
    const port = await freePort();
    health = `http://127.0.0.1:${port}`;
    first = await start('first', port);
  }, 120_000);
  afterAll(async () => {
    await api?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  async function start(name: string, port: number): Promise<RunningProcess> {
    const config = join(directory.path, `${name}.yaml`);
    const lines = [
      `healthProbeBindAddress: '127.0.0.1:${port}'`,
      "metrics: { bindAddress: '0' }",
      'leaderElection: { leaseDuration: 3s, renewDeadline: 2s, retryPeriod: 200ms }',
    ];
    await writeFile(config, lines.join('\n'));
    const args = ['--config', config, `--kubeconfig=${api.kubeconfig}`];
    const environment = { KMM_MANAGED: '1' };
    return startOperator({ args, directory: directory.path, name, namespace, environment });
  }

  const published = async (): Promise<unknown> => {
    const claims = await listAll(client, clusterClaims, {});
    return claims.map(({ spec }) => (spec as { value: string }).value);
  };

  it('reconciles Modules without Open Cluster Management, and logs what is missing at growing intervals', async () => {
    expect(await logged(first, unknown)).toMatchObject({
      level: 'warn',
      definition: 'clusterclaims.cluster.open-cluster-management.io',
    });
    await vi.waitFor(async () => expect((await fetch(`${health}/readyz`)).status).toBe(200), waiting);
    await client.create(preflightValidations, {
      metadata: { name: 'next' },
      spec: { kernelVersion: '6.2.0', pushBuiltImage: true },
    });
    const container = {
      modprobe: { moduleName: 'driver' },
      build: { dockerfileConfigMap: { name: 'dockerfile' } },
      kernelMappings: [{ regexp: '^6', containerImage: '127.0.0.1:1/driver:${KERNEL_FULL_VERSION}' }],
    };
    const spec = { selector: { worker: 'true' }, moduleLoader: { container } };
    await client.create(modules, { metadata: { namespace, name: 'driver' }, spec });
    await vi.waitFor(async () => {
      const { status } = parseModule(await client.get(modules, { namespace, name: 'driver' }));
      expect(status?.kernels).toMatchObject([{ kernelVersion: kernel, phase: 'Checking' }]);
    }, waiting);
    await vi.waitFor(() => {
      const warnings = logOf(first).filter(({ message }) => message === unknown);
      expect(warnings.length).toBeGreaterThan(2);
      for (const [index, { failures, wait }] of warnings.entries()) {
        expect(failures).toBe(index + 1);
        expect(wait).toBeGreaterThanOrEqual(250 * 2 ** index);
      }
    }, waiting);
    expect(parsePreflightValidation(await client.get(preflightValidations, { name: 'next' })).status).toBe(
      undefined,
    );
    expect(await listAll(client, jobs, {})).toEqual([]);
  }, 60_000);

  it('publishes kernels once Open Cluster Management is installed', async () => {
    await installHubResources(client);
    await expect.poll(published, waiting).toEqual([kernel]);
  }, 60_000);

  it('continues publishing with the next leader', async () => {
    const second = await start('second', await freePort());
    await logged(second, 'operator started');
    await first.stop('SIGTERM');
    await logged(second, 'started leading');
    await setNodeInfo(client, { ...node, kernel: '6.2.0' });
    await expect.poll(published, waiting).toEqual(['6.2.0']);
    await second.stop('SIGTERM');
    expect(second.exitCode).toBe(0);
  }, 60_000);
});
