import { execFile } from 'node:child_process';
import { mkdir, readFile, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { managedClusterModules } from '../../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { managedClusters } from '../../../src/controller/hub/fleet/managed-clusters.ts';
import { manifestWorks } from '../../../src/controller/hub/fleet/manifest-works.ts';
import { secrets } from '../../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../src/shared/temporary.ts';
import { renderOverlay, run } from '../../deploy/manifests.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../../support/api-server.ts';
import { installHubResources } from '../../support/hub/crds.ts';
import { describeWith } from '../../support/programs.ts';
import { createNamespace } from '../module/cluster-objects.ts';
import { operatorProgram } from '../operator/start-operator.ts';
import { readFiles } from './run-gather.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
/** What the image has as /usr/bin/gather. */
const script = join(root, 'scripts/gather.sh');
const now = new Date(0).toISOString();
const moduleSpec = {
  moduleLoader: {
    container: {
      modprobe: { moduleName: 'hello' },
      containerImage: 'registry.example/driver',
      sign: { keySecret: { name: 'key' }, certSecret: { name: 'absent' } },
      kernelMappings: [{ regexp: '^.+$' }],
    },
  },
  selector: {},
};

describeWith([...apiServerPrograms, 'kubectl'], '/usr/bin/gather -u', () => {
  let api: ApiServer;
  let client: ApiClient;
  let directory: TemporaryDirectory;
  let files: ReadonlyMap<string, string>;

  beforeAll(async () => {
    api = await startApiServer();
    client = await api.client();
    directory = await createTemporaryDirectory();
    await installHubResources(client);
    const items = (await renderOverlay('hub')).filter(({ kind }) =>
      ['Namespace', 'Deployment'].includes(kind),
    );
    const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
    await run('kubectl', ['--kubeconfig', api.kubeconfig, 'apply', '--server-side', '-f', '-'], list);
    await createFleet(client);
    const bin = join(directory.path, 'bin');
    await mkdir(bin);
    await symlink(operatorProgram, join(bin, 'kmm-operator'));
    const output = join(directory.path, 'must-gather');
    await promisify(execFile)(script, ['-u'], {
      env: {
        PATH: `${bin}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
        KUBECONFIG: api.kubeconfig,
        MUST_GATHER_DIRECTORY: output,
      },
    });
    files = await readFiles(output);
  });
  afterAll(async () => {
    await api?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  it('is in the image, under that name', async () => {
    const program = await readFile(join(root, 'scripts/image/application.js'), 'utf8');
    expect(program).toContain(
      "copyFileSync(join(source, 'scripts/gather.sh'), join(root, 'usr/bin/gather'))",
    );
    expect(program).toContain("chmodSync(join(root, 'usr/bin/gather'), 0o755)");
    expect(await readFile(join(root, '.dockerignore'), 'utf8')).toContain('!scripts/gather.sh');
    expect(await readFile(script, 'utf8')).toContain(':-/must-gather}');
  });

  it('has what belongs to the operator of a hub', () => {
    expect([...files.keys()]).toEqual(
      expect.arrayContaining([
        'cluster-scoped-resources/hub.kmm.sigs.x-k8s.io/managedclustermodules/driver.yaml',
        'cluster-scoped-resources/cluster.open-cluster-management.io/managedclusters/spoke.yaml',
        'namespaces/spoke/work.open-cluster-management.io/manifestworks/driver.yaml',
        'namespaces/kmm-operator-hub/apps/deployments/kmm-operator-hub-controller.yaml',
        'namespaces/kmm-operator-hub/core/secrets/key.yaml',
      ]),
    );
    expect([...files.keys()].filter((path) => path.includes('/others'))).toEqual([]);
  });

  it('says what is wrong on the way from the hub to its clusters', () => {
    const summary = files.get('summary.md') ?? '';
    for (const line of [
      '- **ManagedClusterModule driver**: Degraded is True (BuildFailed): it failed',
      '- **ManagedClusterModule driver**: cluster spoke: Failed: WorkRefused: no permission',
      '- **ManagedClusterModule driver**: image registry.example/driver: BuildFailed: exit code 1 (Job build-driver)',
      '- **ManagedClusterModule driver**: refers to Secret kmm-operator-hub/absent, which does not exist',
      '- **ManagedCluster spoke**: ManagedClusterConditionAvailable is Unknown (LeaseExpired): the agent has stopped',
      '- **ManifestWork spoke/driver**: Applied is False (Refused): no permission',
    ]) {
      expect(summary).toContain(line);
    }
  });
});

async function createFleet(client: ApiClient): Promise<void> {
  const status = { subresource: 'status' };
  const key = { namespace: 'kmm-operator-hub', name: 'key' };
  await client.create(secrets, { metadata: key, data: { key: 'YQ==' } });
  await client.create(managedClusterModules, {
    metadata: { name: 'driver' },
    spec: { moduleSpec, spokeNamespace: 'drivers', selector: {} },
  });
  const failed = { phase: 'Failed', reason: 'BuildFailed', message: 'exit code 1', job: 'build-driver' };
  const moduleStatus = {
    conditions: [condition('Degraded', 'True', 'BuildFailed', 'it failed')],
    clusters: [{ name: 'spoke', phase: 'Failed', reason: 'WorkRefused', message: 'no permission' }],
    images: [{ image: 'registry.example/driver', ...failed }],
  };
  await client.patch(managedClusterModules, { name: 'driver' }, { status: moduleStatus }, status);
  await client.create(managedClusters, { metadata: { name: 'spoke' }, spec: { hubAcceptsClient: true } });
  const gone = condition(
    'ManagedClusterConditionAvailable',
    'Unknown',
    'LeaseExpired',
    'the agent has stopped',
  );
  await client.patch(managedClusters, { name: 'spoke' }, { status: { conditions: [gone] } }, status);
  await createNamespace(client, 'spoke');
  for (const [name, labels] of [
    ['driver', { 'kmm.node.kubernetes.io/managedclustermodule.name': 'driver' }],
    ['others', {}],
  ] as const) {
    await client.create(manifestWorks, { metadata: { namespace: 'spoke', name, labels }, spec: {} });
  }
  const refused = condition('Applied', 'False', 'Refused', 'no permission');
  const work = { namespace: 'spoke', name: 'driver' };
  await client.patch(manifestWorks, work, { status: { conditions: [refused] } }, status);
}

function condition(type: string, status: string, reason: string, message: string) {
  return { type, status, reason, message, lastTransitionTime: now };
}
